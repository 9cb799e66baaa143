"""The timeline's file, held against the rules of the Trace Event Format."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from cube import config
from cube.build import trace
from cube.build.timeline import Reuse, Span, Timeline
from cube.build.trace import recording
from cube.config.workspace import Workspace
from cube.runtime import log, progress
from cube.runtime.errors import CubeError
from tests.unit.build.test_timeline import report_entry

#: Source: "Trace Event Format", "Complete Events", "Instant Events", "Metadata Events".
REQUIRED = {
    "X": {"name": str, "cat": str, "ts": int, "dur": int, "pid": int, "tid": int, "args": dict},
    "i": {"name": str, "cat": str, "ts": int, "s": str, "pid": int, "tid": int, "args": dict},
    "M": {"name": str, "pid": int, "tid": int, "args": dict},
}


def expect_format(document: dict[str, Any]) -> None:
    """Hold a file against the rules of its format."""
    assert document["displayTimeUnit"] in {"ms", "ns"}
    for event in document["traceEvents"]:
        for name, kind in REQUIRED[event["ph"]].items():
            assert type(event[name]) is kind, (name, event)
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0
        assert event.get("s", "t") in {"g", "p", "t"}
    expect_nesting([event for event in document["traceEvents"] if event["ph"] == "X"])
    named = {event["tid"] for event in document["traceEvents"] if event["name"] == "thread_name"}
    assert {event["tid"] for event in document["traceEvents"] if event["ph"] != "M"} <= named


def expect_nesting(complete: list[dict[str, Any]]) -> None:
    """Of two events of one thread, one lies within the other or they do not overlap."""
    for one, other in itertools.combinations(complete, 2):
        if one["tid"] == other["tid"]:
            first, second = sorted((one, other), key=lambda event: (event["ts"], -event["dur"]))
            end, inner_end = first["ts"] + first["dur"], second["ts"] + second["dur"]
            assert second["ts"] >= end or inner_end <= end, (first, second)


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    work = Workspace.of(config.load_text("", tmp_path / "cube.toml"))
    work.results.mkdir(parents=True)
    return work


def read(work: Workspace) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(work.timeline.read_text())
    expect_format(document)
    return document


def named(document: dict[str, Any], phase: str = "X") -> dict[str, dict[str, Any]]:
    return {event["name"]: event for event in document["traceEvents"] if event["ph"] == phase}


def play() -> None:
    with log.step("Stage 1: validation", stage=1):
        entry = {"name": "base", "key": "ab" * 32, "seconds": 120.0, "size_bytes": 1}
        log.reused("base is reused", entry)
    with log.step("Stage 3: provisioning", stage=3), log.step("Applying layer 1", layer=1):
        for _ in range(3):  # told at once, though they ran one after the other
            log.operation("common: Install", seconds=0.0001, changed=True, layer=1, execs=2)


def test_steps_and_operations_nest(work: Workspace) -> None:
    with recording(Timeline(), work):
        play()
    document = read(work)
    assert document["otherData"]["outcome"] == "succeeded"
    assert document["otherData"]["saved_seconds"] == 120.0
    events = named(document)
    stage, layer = events["Stage 3: provisioning"], events["Applying layer 1"]
    assert stage["ts"] <= layer["ts"]
    assert stage["args"] == {"outcome": "done", "stage": 3}
    operations = [event for event in document["traceEvents"] if event.get("cat") == "operation"]
    assert len(operations) == 3
    assert operations[0]["args"] == {
        "outcome": "done",
        "role": "common",
        "changed": True,
        "layer": 1,
        "execs": 2,
    }


def test_what_is_reused_is_an_instant_of_the_build(work: Workspace) -> None:
    with recording(Timeline(), work):
        play()
    document = read(work)
    instant = named(document, "i")["base is reused"]
    assert instant["args"]["seconds"] == 120.0
    # Not the tid of the step: one of microseconds may overlap an operation, and get a lane.
    metadata = [event for event in document["traceEvents"] if event["name"] == "thread_name"]
    assert {event["tid"]: event["args"]["name"] for event in metadata}[instant["tid"]] == "build"


def test_process_and_threads_have_names(work: Workspace) -> None:
    with recording(Timeline(), work):
        play()
    metadata = [event for event in read(work)["traceEvents"] if event["ph"] == "M"]
    names = [(event["name"], event["args"].get("name")) for event in metadata]
    assert ("process_name", f"cube build: {work.name}") in names
    assert ("thread_name", "build") in names


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(CubeError("no"), "failed"), (KeyboardInterrupt(), "interrupted"), (OSError(), "failed")],
)
def test_a_build_that_ends_early_has_its_timeline(
    work: Workspace, error: BaseException, outcome: str
) -> None:
    with pytest.raises(type(error)), recording(Timeline(), work), log.step("Stage 2", stage=2):
        raise error
    document = read(work)
    assert document["otherData"]["outcome"] == outcome
    assert named(document)["Stage 2"]["args"]["outcome"] == "failed"


def test_the_file_of_the_build_before_does_not_stay(work: Workspace) -> None:
    work.timeline.write_text("old")
    with recording(Timeline(), work):
        assert read(work)["otherData"]["outcome"] == "running"


def test_a_kill_costs_no_more_than_some_seconds(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "EVERY_S", 0.0)
    with recording(Timeline(), work), log.step("Stage 2", stage=2):
        with log.step("Packer"):
            pass
        log.operation("common: Install", seconds=0.0, changed=True)
        events = named(read(work))
        assert events["Packer"]["args"]["outcome"] == "done"
        assert "common: Install" in events
        assert events["Stage 2"]["args"]["outcome"] == "running"


def test_a_full_disk_does_not_hide_what_failed(work: Workspace) -> None:
    work.timeline.with_name(f".{work.timeline.name}.new").mkdir()  # it cannot be written
    with pytest.raises(CubeError, match="the cause"), recording(Timeline(), work):
        raise CubeError("the cause")


def test_runs_of_checks_side_by_side_have_threads_of_their_own(work: Workspace) -> None:
    seen = Timeline()
    zero = seen.began_at.timestamp()
    for name, start in (("cube-proof-1", 1.0), ("cube-proof-2", 1.5)):
        (work.results / f"{name}.jsonl").write_text(
            report_entry("a", "call", zero + start, zero + start + 2)
            + report_entry("b", "call", zero + start + 2, zero + start + 3)
        )
    with recording(seen, work):
        pass
    document = read(work)
    threads = {
        event["args"]["name"]: event["tid"]
        for event in document["traceEvents"]
        if event["name"] == "thread_name"
    }
    assert list(threads) == ["build", "checks cube-proof-1", "checks cube-proof-2"]
    checks = [event for event in document["traceEvents"] if event.get("cat") == "check"]
    tenth = 100_000
    assert [(event["tid"], event["ts"] // tenth, event["dur"] // tenth) for event in checks] == [
        (threads["checks cube-proof-1"], 10, 20),
        (threads["checks cube-proof-1"], 30, 10),
        (threads["checks cube-proof-2"], 15, 20),
        (threads["checks cube-proof-2"], 35, 10),
    ]


def make_span(text: str, start: float, end: float) -> Span:
    return Span(
        kind="step",
        text=text,
        start=start,
        end=end,
        depth=0,
        outcome="done",
        thread="MainThread",
        data={},
    )


def test_what_overlaps_on_one_thread_gets_one_of_its_own() -> None:
    spans = [
        make_span("a", 0, 10),
        make_span("in a", 1, 2),
        make_span("b", 5, 15),
        make_span("after a", 10, 12),
        make_span("in b", 6, 7),
    ]
    events = trace.events("build", spans, [])
    expect_format({"displayTimeUnit": "ms", "traceEvents": events})
    lanes = {event["name"]: event["tid"] for event in events if event["ph"] == "X"}
    assert lanes == {"a": 1, "in a": 1, "after a": 1, "in b": 1, "b": 2}
    names = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert names == ["build", "build (2)"]


def test_a_skipped_layer_is_not_told_as_reused() -> None:
    entries = [{"name": "base", "size_bytes": 5}, {"name": "layer2", "size_bytes": 0}]
    reuses = [Reuse(at=1.0, entry=entry) for entry in entries]
    events = trace.events("build", [], reuses)
    assert [event["name"] for event in events if event["ph"] == "i"] == ["base is reused"]


def test_rounding_makes_no_overlap() -> None:
    edges = [n / 3e6 for n in range(50)]
    spans = [make_span(f"{n}", *pair) for n, pair in enumerate(itertools.pairwise(edges))]
    events = trace.events("build", [*spans, make_span("all", edges[0], edges[-1])], [])
    expect_format({"displayTimeUnit": "ms", "traceEvents": events})
    assert {event["tid"] for event in events if event["ph"] == "X"} == {1}


def test_the_listeners_of_a_build_work_together(work: Workspace) -> None:
    with progress.log_file(work.log), recording(Timeline(), work):
        play()
    assert "Applying layer 1" in work.log.read_text()
    assert "Applying layer 1" in named(read(work))
