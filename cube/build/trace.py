"""The timeline as a file that Perfetto (https://ui.perfetto.dev) and chrome://tracing open.

Source: "Trace Event Format", https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU:
a JSON object whose ``traceEvents`` are complete events (``X``), instant events (``i``) and
metadata (``M``), with times in microseconds. The events of one thread nest or do not overlap.
"""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cube.build.timeline import Reuse, Span, Timeline, checks
from cube.config.workspace import Workspace
from cube.runtime import log
from cube.runtime.atomic import write_whole
from cube.runtime.log import Event

Outcome = Literal["running", "succeeded", "failed", "interrupted"]

#: There is one process: the build.
PID = 1
#: Of the thread that the steps of a build are in; `threading` calls it so.
MAIN = "MainThread"
#: Seconds after which the file is written anew while a build runs: what a kill can cost.
EVERY_S = 10.0


@contextlib.contextmanager
def recording(timeline: Timeline, work: Workspace) -> Iterator[None]:
    """Let a timeline listen while the block runs, and write it however the block ends."""
    file = TraceFile(timeline=timeline, work=work)
    outcome: Outcome = "failed"
    with log.listening(timeline), log.listening(file):
        file.write("running")
        try:
            yield
            outcome = "succeeded"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            file.write(outcome)


@dataclass(kw_only=True)
class TraceFile:
    """Keeps the file of a timeline up to date; a listener of `cube.runtime.log`."""

    timeline: Timeline
    work: Workspace
    written: float = 0.0

    def __call__(self, event: Event) -> None:
        """Write the file anew when something has ended, if it is not fresh."""
        ended = event.kind in {"done", "failed", "operation"}
        if ended and time.monotonic() - self.written >= EVERY_S:
            self.write("running")

    def write(self, outcome: Outcome) -> None:
        """Write the file whole."""
        text = json.dumps(document(self.timeline, self.work, outcome), default=str)
        with contextlib.suppress(OSError):  # a full disk is told by what fails next, not by this
            write_whole(self.work.timeline, text + "\n")
        self.written = time.monotonic()


def document(timeline: Timeline, work: Workspace, outcome: Outcome) -> dict[str, Any]:
    """Return the file's content."""
    spans = [*timeline.steps(), *timeline.operations()]
    spans += checks(work.results, timeline.began_at)
    return {
        "displayTimeUnit": "ms",
        "otherData": {
            "image": work.name,
            "began_at": timeline.began_at.isoformat(timespec="milliseconds"),
            "outcome": outcome,
            "saved_seconds": round(timeline.saved_seconds(), 1),
        },
        "traceEvents": events(f"cube build: {work.name}", spans, timeline.reuses),
    }


def events(process: str, spans: Sequence[Span], reuses: Iterable[Reuse]) -> list[dict[str, Any]]:
    """Return the events: names first, then each thread's spans, then what was reused.

    Args:
        process: name of the process.
        spans: in any order; what overlaps within a thread gets a thread of its own.
        reuses: what an earlier build had made.
    """
    told = [metadata("process_name", 0, {"name": process})]
    tid = 0
    for thread in dict.fromkeys([MAIN, *(span.thread for span in spans)]):
        own = [complete(span) for span in spans if span.thread == thread]
        for number, lane in enumerate(lanes(own) or [[]], start=1):
            tid += 1
            name = ("build" if thread == MAIN else thread) + (f" ({number})" if number > 1 else "")
            told.append(metadata("thread_name", tid, {"name": name}))
            told.append(metadata("thread_sort_index", tid, {"sort_index": tid}))
            told += [{**event, "tid": tid} for event in lane]
    # A layer that was skipped is no link that could be reused.
    return told + [instant(reuse) for reuse in reuses if reuse.entry["size_bytes"]]


def lanes(spans: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Spread complete events so that those of one lane nest or do not overlap."""
    found: list[list[dict[str, Any]]] = []
    for event in sorted(spans, key=lambda event: (event["ts"], -event["dur"])):
        lane = next((lane for lane in found if fits(event, lane)), None)
        if lane is None:
            found.append(lane := [])
        lane.append(event)
    return found


def fits(event: dict[str, Any], lane: Iterable[dict[str, Any]]) -> bool:
    """Tell whether an event lies after or within each of a lane, which began before it."""
    start, end = event["ts"], event["ts"] + event["dur"]
    ends = (other["ts"] + other["dur"] for other in lane)
    return all(other <= start or end <= other for other in ends)


def complete(span: Span) -> dict[str, Any]:
    """Return a span as a complete event, in a thread that is still open."""
    start, end = micros(span.start), micros(span.end)
    return {
        "ph": "X",
        "name": span.text,
        "cat": span.kind,
        "pid": PID,
        "tid": 0,
        "ts": start,
        "dur": end - start,
        "args": {"outcome": span.outcome, **span.data},
    }


def instant(reuse: Reuse) -> dict[str, Any]:
    """Return a reuse as an instant event in the thread of the steps."""
    return {
        "ph": "i",
        "s": "t",
        "name": f"{reuse.entry['name']} is reused",
        "cat": "reuse",
        "pid": PID,
        "tid": 1,
        "ts": micros(reuse.at),
        "args": reuse.entry,
    }


def metadata(name: str, tid: int, args: dict[str, object]) -> dict[str, Any]:
    """Return a metadata event; `tid` 0 stands for the process."""
    return {"ph": "M", "name": name, "pid": PID, "tid": tid, "ts": 0, "args": args}


def micros(seconds: float) -> int:
    """Return whole microseconds since the build began."""
    return max(0, round(seconds * 1e6))
