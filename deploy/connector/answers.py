"""What is known about a machine: kept for a moment, forgotten when anything changes it."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: Seconds for which an answer is good after it came: what others change is seen after them.
FRESH_S = 2.0

#: A command's output; None when the command failed or nobody answered.
Answer = str | None


@dataclass(kw_only=True)
class Answers:
    """Answers to commands that only read, from few questions.

    A question that is on the list of `expected` brings the answers to those after it along. How
    many: all of them at first, only one after a change, then twice as many each time. So a run
    that changes nothing asks once, and one that changes everything asks nothing in vain.

    Args:
        ask: runs commands in their order on the machine; one answer for each.
        expected: commands that will probably be asked, in their order.
        reuse: False asks every question anew.
        now: a clock, in seconds.
    """

    ask: Callable[[Sequence[str]], Sequence[Answer]]
    expected: Sequence[str] = ()
    reuse: bool = True
    now: Callable[[], float] = time.monotonic
    asked: dict[str, None] = field(default_factory=dict)  #: what this run has asked, in its order
    _known: dict[str, tuple[float, str]] = field(default_factory=dict)
    _changes: int = 0

    def __post_init__(self) -> None:
        self.expected = list(dict.fromkeys(self.expected))
        self._place = {command: place for place, command in enumerate(self.expected)}
        self._ahead = len(self.expected)

    def get(self, command: str) -> Answer:
        """Return the output of a command that only reads; None when it must be run otherwise."""
        self.asked.setdefault(command)
        came, answer = self._known.get(command, (-math.inf, ""))
        if self.now() - came < FRESH_S:
            return answer
        return self._gather(command)

    def changed(self) -> None:
        """Forget everything: something has changed the machine, or may have."""
        self._known.clear()
        self._changes += 1
        self._ahead = 1

    def _batch(self, command: str) -> list[str]:
        """Return the command, and what will probably be asked after it."""
        place = self._place.get(command)
        if place is None or not self.reuse:
            return [command]
        batch = list(self.expected[place : place + self._ahead])
        self._ahead = min(2 * self._ahead, len(self.expected))
        return batch

    def _gather(self, command: str) -> Answer:
        """Ask; no answer is kept across a change."""
        batch, changes = self._batch(command), self._changes
        answers = dict(zip(batch, self.ask(batch), strict=True))
        came = self.now()
        if self.reuse and changes == self._changes:
            told = {one: (came, answer) for one, answer in answers.items() if answer is not None}
            self._known |= told
        return answers[command]
