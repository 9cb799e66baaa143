"""Answers are kept only while they are true, whatever the order of questions and changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deploy.connector.answers import FRESH_S, Answer, Answers

NAMES = [f"fact {number}" for number in range(8)]


@dataclass
class Machine:
    """Things that have a value, changed by us and by others; a clock that only steps."""

    values: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    batches: list[list[str]] = field(default_factory=list)
    time: float = 0.0

    def ask(self, commands: Sequence[str]) -> list[Answer]:
        self.batches.append(list(commands))
        return [self.answer(command) for command in commands]

    def answer(self, command: str) -> Answer:
        return str(self.values[command])


def answers(machine: Machine, expected: Sequence[str] = (), *, reuse: bool = True) -> Answers:
    return Answers(ask=machine.ask, expected=expected, reuse=reuse, now=lambda: machine.time)


def test_what_is_expected_is_asked_at_once() -> None:
    machine = Machine()
    known = answers(machine, NAMES)
    assert [known.get(name) for name in NAMES] == ["0"] * 8
    assert machine.batches == [NAMES]


def test_only_what_comes_after_a_question_is_asked() -> None:
    machine = Machine()
    answers(machine, NAMES).get(NAMES[5])
    assert machine.batches == [NAMES[5:]]


def test_an_answer_is_used_again() -> None:
    machine = Machine()
    known = answers(machine)
    assert [known.get("fact 1"), known.get("fact 1")] == ["0", "0"]
    assert machine.batches == [["fact 1"]]


def test_without_reuse_every_question_is_asked() -> None:
    machine = Machine()
    known = answers(machine, NAMES, reuse=False)
    known.get("fact 1"), known.get("fact 1")
    assert machine.batches == [["fact 1"], ["fact 1"]]


def test_after_a_change_questions_are_few_and_then_more() -> None:
    machine = Machine()
    known = answers(machine, NAMES)
    known.get(NAMES[0])
    known.changed()
    for name in NAMES[1:]:
        known.get(name)
    assert [len(batch) for batch in machine.batches] == [8, 1, 2, 4]


def test_a_run_that_changes_everything_asks_nothing_in_vain() -> None:
    machine = Machine()
    known = answers(machine, NAMES)
    known.changed()
    for name in NAMES:
        known.get(name)
        known.changed()
    assert machine.batches == [[name] for name in NAMES]


def test_an_answer_grows_old() -> None:
    machine = Machine()
    known = answers(machine)
    known.get("fact 1")
    machine.values["fact 1"] = 1  # by somebody else
    machine.time += FRESH_S
    assert known.get("fact 1") == "1"


def test_a_command_without_an_answer_is_asked_again() -> None:
    machine = Machine()
    known = Answers(ask=lambda commands: [None] * len(commands), now=lambda: machine.time)
    assert known.get("false") is None
    assert list(known.asked) == ["false"]


def test_an_answer_is_not_kept_across_a_change_that_came_while_it_was_asked() -> None:
    machine = Machine()

    def ask(commands: Sequence[str]) -> list[Answer]:
        found = machine.ask(commands)
        if len(machine.batches) == 1:
            machine.values["fact 1"] = 1
            known.changed()
        return found

    known = Answers(ask=ask, now=lambda: machine.time)
    assert known.get("fact 1") == "0"
    assert known.get("fact 1") == "1"


#: Seconds that the machine needs for one command.
COMMAND_S = 0.1


class BusyMachine(Machine):
    """A machine that needs time to answer, while others change it; it knows what was when."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[str] = []  # what others change while commands are answered
        self.history = {name: [(0.0, 0)] for name in NAMES}

    def change(self, name: str) -> None:
        self.values[name] += 1
        self.history[name].append((self.time, self.values[name]))

    def answer(self, command: str) -> Answer:
        if self.meanwhile:
            self.change(self.meanwhile.pop())
        self.time += COMMAND_S / 2
        found = super().answer(command)
        self.time += COMMAND_S / 2
        return found

    def held_since(self, name: str, moment: float) -> set[Answer]:
        """Return every value that something has had since a moment."""
        began = max(at for at, _ in self.history[name] if at <= moment)
        return {str(value) for at, value in self.history[name] if at >= began}


SOME = st.sampled_from(NAMES[:3])  # few, so that questions and changes meet
STEPS = st.one_of(
    st.tuples(st.just("ask"), SOME),
    st.tuples(st.just("change"), SOME),
    st.tuples(st.just("others"), SOME),
    st.tuples(st.just("others, meanwhile"), SOME),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 1.9, 2.5])),
)


@given(st.lists(STEPS, min_size=20, max_size=40), st.lists(SOME, max_size=12))
def test_every_answer_is_true_but_for_what_others_changed_a_moment_ago(
    steps: list[tuple[str, Any]], expected: list[str]
) -> None:
    machine = BusyMachine()
    known = answers(machine, expected)
    window = FRESH_S + COMMAND_S * max(1, len(known.expected))
    ours = 0.0  # since when nothing of ours has changed
    for what, value in steps:
        if what == "ask":
            told = known.get(value)
            assert told in machine.held_since(value, max(ours, machine.time - window))
        elif what == "change":
            machine.change(value)
            known.changed()
            ours = machine.time
        elif what == "others":
            machine.change(value)
        elif what == "others, meanwhile":
            machine.meanwhile.append(value)
        else:
            machine.time += value
