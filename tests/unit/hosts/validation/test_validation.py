"""Tests of cube.hosts.validation: order, gate, verdict, and what is kept."""

import json
import shlex
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cube.cli.validate import refuse, suite_list
from cube.hosts.target import Box
from cube.hosts.validation import record, remote_lock, runner, validation
from cube.hosts.validation.catalog import NAMES, SUITES, Suite, named
from cube.hosts.validation.result import Evidence, Finding, Outcome, SuiteResult
from cube.hosts.validation.runner import Listener
from cube.hosts.validation.validation import Validation, Wanted
from cube.machines import Endpoint
from cube.runtime.errors import ValidationError

BOX = Box(
    name="desk1",
    endpoint=Endpoint(
        host="192.0.2.1", port=22, user="anna", key_file=Path("/k"), known_hosts=Path("/h")
    ),
)


def result(
    suite: str, outcome: Outcome = "pass", evidence: Evidence = "hardware", reason: str = ""
) -> SuiteResult:
    findings = {
        "pass": (Finding(name="one", status="OK", detail="fine"),),
        "fail": (Finding(name="one", status="FAIL", detail="7 %, limit 80 % <b>"),),
    }
    return SuiteResult(
        suite=suite,
        outcome=outcome,
        evidence=evidence,
        reason=reason,
        findings=findings.get(outcome, ()),
        seconds=2.0,
        figures={
            "utilisation_percent": {"GPU 0": [1, 50, 99], "GPU 1": [1, 40, None]},
            "images_per_second": {"1": 100.0, "4": 380.0},
            "step_seconds": 0.25,
        },
    )


def found(*results: SuiteResult) -> Validation:
    return Validation(
        box="desk1", began=datetime(2026, 1, 2, tzinfo=UTC), quick=False, results=results
    )


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    calls: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(remote_lock, "holding", lambda _: nullcontext())
    monkeypatch.setattr(runner, "end_orphan", lambda _: None)
    return calls


def play(
    monkeypatch: pytest.MonkeyPatch,
    calls: list[tuple[str, tuple[str, ...]]],
    outcome: Callable[[str], Outcome],
) -> None:
    def run_suite(
        box: Box, suite: Suite, *, quick: bool, arguments: tuple[str, ...]
    ) -> SuiteResult:
        calls.append((suite.name, arguments))
        return result(suite.name, outcome(suite.name))

    monkeypatch.setattr(runner, "run_suite", run_suite)


def test_suites_run_in_their_order(
    monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, tuple[str, ...]]]
) -> None:
    play(monkeypatch, ran, lambda _: "pass")

    done = validation.validate(BOX, Wanted(model="/models/one"))

    assert ran == [(name, ("--model", "/models/one") if name == "vllm" else ()) for name in NAMES]
    assert done.verdict == "passed"


def test_a_missing_gpu_ends_the_validation(
    monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, tuple[str, ...]]]
) -> None:
    play(monkeypatch, ran, lambda name: "fail" if name == "gpus" else "pass")

    done = validation.validate(BOX, Wanted())

    assert [name for name, _ in ran] == ["gpus"]
    assert {one.outcome for one in done.results[1:]} == {"not_run"}
    assert done.results[1].reason == "GPU detection failed before it"
    assert done.verdict == "failed"


@pytest.mark.parametrize("outcome", ["fail", "error"])
def test_another_failure_does_not(
    monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, tuple[str, ...]]], outcome: Outcome
) -> None:
    play(monkeypatch, ran, lambda name: outcome if name == "pytorch" else "pass")

    done = validation.validate(BOX, Wanted())

    assert [name for name, _ in ran] == list(NAMES)
    assert done.verdict == "failed"


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (["pass", "pass"], "passed"),
        (["pass", "not_run"], "incomplete"),
        (["not_run", "not_run"], "incomplete"),
        (["not_run", "fail"], "failed"),
        (["pass", "error"], "failed"),
        ([], "incomplete"),
    ],
)
def test_the_worst_outcome_counts(outcomes: list[Outcome], verdict: str) -> None:
    done = found(*(result(name, one) for name, one in zip(NAMES, outcomes, strict=False)))

    assert done.verdict == verdict
    if verdict == "passed":
        refuse(done)
    elif outcomes:
        with pytest.raises(ValidationError, match="desk1: "):
            refuse(done)


def test_the_weakest_evidence_counts() -> None:
    assert found(result("gpus"), result("vllm", evidence="cpu")).evidence == "cpu"
    assert found(result("gpus", evidence="simulated"), result("vllm")).evidence == "simulated"
    assert found(result("gpus", "not_run", "none")).evidence == "none"


def test_suites_are_chosen_by_name_and_keep_their_order() -> None:
    assert [one.name for one in suite_list("docker, gpus")] == ["gpus", "docker"]


def test_all_forms_are_written(tmp_path: Path) -> None:
    done = found(
        result("gpus"),
        result("pytorch", "fail"),
        result("vllm", "not_run", "none", "no vllm"),
        result("docker", "error", "none", "out of memory"),
    )

    files = record.write(tmp_path, done)

    data = json.loads(files["json"].read_text())
    assert (data["verdict"], data["evidence"]) == ("failed", "hardware")
    assert [one["outcome"] for one in data["suites"]] == ["pass", "fail", "not_run", "error"]
    xml = ET.parse(files["junit"]).getroot()
    assert {name: xml.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    page = files["html"].read_text()
    assert page.count("<svg") == 8
    assert "7 %, limit 80 % &lt;b&gt;" in page
    assert "out of memory" in page


def test_the_page_needs_nothing_beside_it(tmp_path: Path) -> None:
    page = record.write(tmp_path, found(result("gpus")))["html"].read_text()

    assert "src=" not in page
    assert "@import" not in page
    assert 'href="http' not in page.replace('href="http://creativecommons', "")


def test_a_suite_runs_with_limits_that_the_box_keeps() -> None:
    suite = named("vllm")
    script = runner.render_script(runner.command(suite, quick=True), limit_s=90)

    words = shlex.split(next(line for line in script.splitlines() if "systemd-run" in line))
    assert "--property=RuntimeMaxSec=90" in words
    assert "--property=KillMode=control-group" in words
    for limit in ("MemoryMax=90%", "MemorySwapMax=0", "OOMPolicy=kill"):
        assert f"--property={limit}" in words
    assert words[words.index("--") + 1 :][:3] == [suite.path, "--json", "--quick"]


def hear(lines: list[str]) -> Listener:
    listener = Listener(named("pytorch"))
    for line in lines:
        listener.hear(line)
    return listener


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ("timeout", 1, "did not end within 600 s, and was ended with all its children"),
        ("oom-kill", 1, "out of memory"),
        ("core-dump", 1, "it crashed"),
        ("signal", 1, "killed by a signal"),
    ],
)
def test_a_suite_that_does_not_end_says_so(said: str, code: int, reason: str) -> None:
    listener = hear(["... step 3", f"Finished with result: {said}"])

    done = runner.conclude(listener, code, quick=True, seconds=9.0)

    assert done.outcome == "error"
    assert reason in done.reason
    assert "... step 3" in done.output


def test_a_program_that_is_not_there_is_named() -> None:
    done = runner.conclude(hear([]), 127, quick=False, seconds=0.1)

    assert done.reason.startswith("/usr/local/bin/test-pytorch-ddp.py is not on the box")


def test_an_object_is_told_from_words(monkeypatch: pytest.MonkeyPatch) -> None:
    progress: list[str] = []
    monkeypatch.setattr("cube.runtime.log.status", progress.append)
    text = json.dumps(
        {
            "check": "pytorch",
            "outcome": "pass",
            "evidence": "cpu",
            "checks": [{"name": "a", "status": "OK", "detail": "b"}],
        }
    )
    listener = hear(
        [
            "Running as unit: cube-suite.service",
            "... one",
            "",
            runner.MARK + text,
            "Finished with result: success",
            "Main processes terminated with: code=exited",
        ]
    )

    done = runner.conclude(listener, 0, quick=True, seconds=1.0)

    assert done.outcome == "pass"
    assert done.output == "... one\nFinished with result: success"
    assert progress == ["PyTorch DDP: one"]  # while it runs, the object is none


def test_every_suite_has_a_shorter_quick_form() -> None:
    assert all(0 < suite.quick_limit_s <= suite.limit_s for suite in SUITES)
    assert len(set(NAMES)) == len(SUITES)
