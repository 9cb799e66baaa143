"""When a build did what, how long it took, and what it was spared."""

import contextlib
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cube.runtime import check_report, documents
from cube.runtime.log import Event

Kind = Literal["step", "operation", "check"]

#: An operation is told as "role: what it does"; a role is named like a Python module.
ROLE = re.compile(r"([a-z][a-z0-9_]*): ")


@dataclass(frozen=True, kw_only=True)
class Span:
    """A piece of a build's time.

    Args:
        kind: what it is.
        text: its name.
        start: seconds since the build began.
        end: likewise.
        depth: how many steps stand around it.
        outcome: `done`, `failed` or, for a step that had not ended yet, `running`; of a check
            `passed`, `failed` or `deferred`.
        thread: those of one thread follow each other or nest.
        data: facts about it.
    """

    kind: Kind
    text: str
    start: float
    end: float
    depth: int
    outcome: str
    thread: str
    data: dict[str, Any]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """Something that an earlier build had made.

    Args:
        at: when it was taken over, in seconds since the build began.
        entry: what it is; see `cube.runtime.log.reused`.
    """

    at: float
    entry: dict[str, Any]

    @property
    def seconds(self) -> float:
        """What it took when it was made."""
        return float(self.entry["seconds"])


class Timeline:
    """A listener of `cube.runtime.log` that remembers what takes time."""

    def __init__(self) -> None:
        self.began_at = datetime.now(UTC)
        self.reuses: list[Reuse] = []
        self._began = time.monotonic()
        self._running: dict[str, list[Span]] = {}
        self._steps: list[Span] = []
        self._operations: list[Span] = []

    def __call__(self, event: Event) -> None:
        """Remember one event."""
        now = self.now()
        match event.kind:
            case "step":
                span = make_span("step", event, start=now, end=now, outcome="running")
                self._running.setdefault(event.thread, []).append(span)
            case "done" | "failed":
                if running := self._running.get(event.thread):
                    self._steps.append(replace(running.pop(), end=now, outcome=event.kind))
            case "operation":
                self._operations.append(make_operation(event, end=now))
            case "info" if entry := event.data.get("reused"):
                self.reuses.append(Reuse(at=now, entry=entry))

    def now(self) -> float:
        """Return the seconds since the build began; setting the clock does not bend them."""
        return time.monotonic() - self._began

    def steps(self) -> list[Span]:
        """Return every step in the order in which they began, those that still run among them."""
        now = self.now()
        stacks = list(self._running.values())
        running = [replace(span, end=now) for stack in stacks for span in stack]
        return sorted([*self._steps, *running], key=lambda span: (span.start, span.depth))

    def operations(self) -> list[Span]:
        """Return every operation, in order."""
        return settle(self._operations)

    def slowest(self, count: int) -> list[Span]:
        """Return the operations that took longest, the longest first."""
        return sorted(self._operations, key=lambda span: -span.seconds)[:count]

    def saved_seconds(self) -> float:
        """Return what it took to make all that was reused."""
        return sum(reuse.seconds for reuse in self.reuses)

    def reused_keys(self) -> set[str]:
        """Return the keys of all that was reused."""
        return {str(reuse.entry["key"]) for reuse in self.reuses}

    def reused_names(self) -> list[str]:
        """Return the names of what was reused; a skipped layer took nothing and saves nothing."""
        return [str(reuse.entry["name"]) for reuse in self.reuses if reuse.entry["size_bytes"]]

    def stages(self) -> dict[int, Span]:
        """Return the stages that were reached, by their number."""
        return {span.data["stage"]: span for span in self.steps() if "stage" in span.data}

    def as_data(self, *, slowest: int) -> dict[str, Any]:
        """Return what a report shows of it, as JSON-like data."""
        return {
            "steps": [plain(span) for span in self.steps()],
            "operations": [plain(span) for span in self.slowest(slowest)],
        }


def make_span(kind: Kind, event: Event, *, start: float, end: float, outcome: str) -> Span:
    """Return the span that an event is about."""
    return Span(
        kind=kind,
        text=event.text,
        start=start,
        end=end,
        depth=event.depth,
        outcome=outcome,
        thread=event.thread,
        data=event.data,
    )


def make_operation(event: Event, *, end: float) -> Span:
    """Return an operation's span, with its role among its data."""
    span = make_span("operation", event, start=end - event.seconds, end=end, outcome="done")
    role = ROLE.match(event.text)
    return replace(span, data={"role": role[1], **event.data}) if role else span


def settle(operations: Sequence[Span]) -> list[Span]:
    """Place operations one after the other, as late as each can have run.

    An operation is told after it has ended, sometimes together with the next. What is known for
    sure is how long each took, their order, and that they ended before they were told.
    """
    settled: list[Span] = []
    next_start = math.inf
    for span in reversed(operations):
        end = min(span.end, next_start)
        next_start = end - span.seconds
        settled.append(replace(span, start=next_start, end=end))
    return settled[::-1]


def plain(span: Span) -> dict[str, Any]:
    """Return a span as JSON-like data."""
    return {
        "text": span.text,
        "start": span.start,
        "seconds": span.seconds,
        "depth": span.depth,
        "outcome": span.outcome,
        "data": span.data,
    }


def checks(results: Path, began_at: datetime) -> Iterator[Span]:
    """Yield every check that pytest has reported since a build began, in a thread for each run.

    Runs may be side by side, and pytest alone knows when each check began and ended.

    Args:
        results: folder of pytest's report logs.
        began_at: when the build began; what is older belongs to a build before.
    """
    began = began_at.timestamp()
    for file in sorted(results.glob("*.jsonl")):
        phases: dict[str, list[dict[str, Any]]] = {}
        for entry in read_entries(file):
            if entry.get("$report_type") == "TestReport" and entry["start"] >= began:
                phases.setdefault(entry["nodeid"], []).append(entry)
        for one in phases.values():
            yield check_span(one, began, thread=f"checks {file.stem}")


def read_entries(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a report log; the last line may have been cut off by a kill."""
    for line in file.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            yield documents.parse(line)


def check_span(phases: Sequence[dict[str, Any]], began: float, *, thread: str) -> Span:
    """Return the time of one check from its set-up, call and teardown.

    Args:
        phases: their reports, with times in seconds since the epoch.
        began: when the build began, likewise.
        thread: where it belongs.
    """
    check = check_report.read_check(phases)
    return Span(
        kind="check",
        text=check.title,
        start=phases[0]["start"] - began,
        end=phases[-1]["stop"] - began,
        depth=0,
        outcome=check.outcome,
        thread=thread,
        data={"id": check.id, "evidence": check.evidence, "reason": check.reason},
    )
