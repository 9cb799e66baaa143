"""When a build did what, as its events tell it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cube.build import timeline
from cube.build.timeline import Span, Timeline
from cube.runtime import log


def make_operation(start: float, end: float) -> Span:
    return Span(
        kind="operation",
        text="x",
        start=start,
        end=end,
        depth=2,
        outcome="done",
        thread="MainThread",
        data={},
    )


def test_steps_have_times_that_nest() -> None:
    seen = Timeline()
    with log.listening(seen), log.step("Stage 3", stage=3), log.step("Layer 1", layer=1):
        pass
    outer, inner = seen.steps()
    assert (outer.text, inner.text) == ("Stage 3", "Layer 1")
    assert (outer.depth, inner.depth) == (0, 1)
    assert outer.start <= inner.start <= inner.end <= outer.end
    assert {step.outcome for step in (outer, inner)} == {"done"}


def test_a_failed_step_is_told_as_failed() -> None:
    seen = Timeline()
    with log.listening(seen), pytest.raises(ValueError, match="no"), log.step("Work", stage=2):
        raise ValueError("no")
    assert [(step.text, step.outcome) for step in seen.steps()] == [("Work", "failed")]
    assert list(seen.stages()) == [2]


def test_a_step_that_runs_ends_now() -> None:
    seen = Timeline()
    with log.listening(seen), log.step("Stage 5", stage=5):
        (step,) = seen.steps()
        assert step.outcome == "running"
        assert step.start <= step.end <= seen.now()


def test_steps_of_two_threads_do_not_end_each_other() -> None:
    seen = Timeline()
    with log.listening(seen), log.step("here"):
        with log.step("outer"):
            there = log.step("there")
            thread = Thread(target=there.__enter__, name="other")
            thread.start()
            thread.join()
        outcomes = {step.text: (step.thread, step.outcome) for step in seen.steps()}
    assert outcomes == {
        "here": ("MainThread", "running"),
        "outer": ("MainThread", "done"),
        "there": ("other", "running"),
    }


def test_the_end_of_a_step_that_began_before_is_let_go() -> None:
    seen = Timeline()
    with log.step("before"):
        listening = log.listening(seen)
        listening.__enter__()
    listening.__exit__(None, None, None)
    assert seen.steps() == []


def test_an_operation_knows_its_role_layer_and_commands() -> None:
    seen = Timeline()
    with log.listening(seen):
        log.operation("common: Install packages", seconds=0.0, changed=True, layer=1, execs=3)
        log.operation("Note that layer 1 is on: this box", seconds=0.0, changed=False, layer=1)
    with_role, without = seen.operations()
    assert with_role.data == {"role": "common", "changed": True, "layer": 1, "execs": 3}
    assert "role" not in without.data


def test_operations_that_are_told_together_follow_each_other() -> None:
    told = [make_operation(5.0, 10.2), make_operation(10.1, 10.2), make_operation(10.0, 12.0)]
    settled = timeline.settle(told)
    assert [(round(one.start, 6), round(one.end, 6)) for one in settled] == [
        (4.7, 9.9),
        (9.9, 10.0),
        (10.0, 12.0),
    ]


def test_the_slowest_come_first() -> None:
    seen = Timeline()
    with log.listening(seen):
        for seconds in (1.0, 9.0, 4.0):
            log.operation(f"took {seconds}", seconds=seconds, changed=True)
    # What an event says of its length is not cut, though these would have begun too early.
    assert [one.text for one in seen.slowest(2)] == ["took 9.0", "took 4.0"]


def reuse(name: str, seconds: float, size: int) -> dict[str, Any]:
    return {"name": name, "key": name * 3, "seconds": seconds, "size_bytes": size}


def test_what_is_reused_sums_up() -> None:
    seen = Timeline()
    with log.listening(seen):
        log.reused("base is reused", reuse("base", 120.0, 5))
        log.reused("layer1 is reused", reuse("layer1", 60.5, 5))
        log.reused("layer2 is reused: skipped", reuse("layer2", 0.0, 0))
        log.info("something else", link="layer5")
    assert seen.saved_seconds() == 180.5
    assert seen.reused_names() == ["base", "layer1"]
    assert seen.reused_keys() == {"basebasebase", "layer1layer1layer1", "layer2layer2layer2"}


def report_entry(node: str, when: str, start: float, stop: float, **more: Any) -> str:
    entry = {
        "$report_type": "TestReport",
        "nodeid": node,
        "when": when,
        "start": start,
        "stop": stop,
        "duration": stop - start,
        "outcome": "passed",
        "longrepr": None,
        "user_properties": [["title", f"title of {node}"], ["evidence", "vm"]],
        **more,
    }
    return json.dumps(entry) + "\n"


def test_checks_have_the_times_that_pytest_reports(tmp_path: Path) -> None:
    began = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    zero = began.timestamp()
    (tmp_path / "layer1.jsonl").write_text(
        '{"$report_type": "SessionStart"}\n'
        + report_entry("old", "call", zero - 60, zero - 50)
        + report_entry("a", "setup", zero + 1, zero + 2)
        + report_entry("a", "call", zero + 2, zero + 5)
        + report_entry("a", "teardown", zero + 5, zero + 5.5)
        + '{"$report_type": "Test'
    )
    (check,) = timeline.checks(tmp_path, began)
    assert (check.text, check.thread, check.outcome) == ("title of a", "checks layer1", "passed")
    assert (check.start, check.end) == (1.0, 5.5)
    assert list(timeline.checks(tmp_path, began + timedelta(hours=1))) == []
