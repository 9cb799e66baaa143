"""Running the checks and reading what they found: nothing unclear is a pass."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cube.machines import Endpoint
from cube.provision import pytest_run
from cube.runtime import log
from cube.runtime.check_report import (
    Check,
    CheckReport,
    Evidence,
    Outcome,
    crash_line,
    merge,
    read_checks,
)
from cube.runtime.errors import CheckError, CommandError
from tests.unit.checks.test_hygiene import SPEC, make_tree

Entry = dict[str, Any]


def phase(when: str, outcome: str = "passed", longrepr: object = None, **more: object) -> Entry:
    return {
        "$report_type": "TestReport",
        "nodeid": "checks/a.py::test_a",
        "when": when,
        "outcome": outcome,
        "longrepr": longrepr,
        "duration": 0.25,
        "user_properties": [
            ["title", "a"],
            ["id", "a.py::test_a"],
            ["group", "layer1"],
            ["evidence", "vm"],
        ],
        **more,
    }


def crash(message: str) -> Entry:
    return {"reprcrash": {"path": "a.py", "lineno": 1, "message": message}}


PASSED = [phase("setup"), phase("call"), phase("teardown")]
FAILED = [phase("setup"), phase("call", "failed", crash("AssertionError: assert 1 == 2\nmore"))]
SKIP = ["a.py", 3, "Skipped: deferred: there is no NVIDIA GPU"]
DEFERRED = [phase("setup", "skipped", SKIP), phase("teardown")]


def lines(*entries: Entry) -> list[str]:
    return [json.dumps(entry) for entry in entries]


@pytest.mark.parametrize(
    ("phases", "outcome", "reason"),
    [
        (PASSED, "passed", ""),
        (FAILED, "failed", "1 == 2"),
        (DEFERRED, "deferred", "there is no NVIDIA GPU"),
        (
            [phase("setup", "skipped", ["a.py", 3, "Skipped: not today"]), phase("teardown")],
            "failed",
            "skipped, and a skip proves nothing: not today",
        ),
        (
            [phase("setup"), phase("call", "skipped", "xfail", wasxfail="known"), PASSED[2]],
            "failed",
            "skipped, and a skip proves nothing: known",
        ),
        ([phase("setup", "failed", "E   RuntimeError: gone")], "failed", "RuntimeError: gone"),
        ([*PASSED[:2], phase("teardown", "failed", crash("OSError: x"))], "failed", "OSError: x"),
        ([phase("setup")], "failed", "it began and never ended"),
    ],
)
def test_an_outcome_is_read(phases: list[Entry], outcome: str, reason: str) -> None:
    (check,) = read_checks(phases)
    assert (check.outcome, check.reason) == (outcome, reason)
    assert (check.id, check.title, check.group, check.evidence) == (
        "a.py::test_a",
        "a",
        "layer1",
        "vm",
    )
    assert check.seconds == 0.25 * len(phases)


@pytest.mark.parametrize(
    ("longrepr", "line"),
    [
        (crash("AssertionError: assert found x, y\n..."), "found x, y"),
        (crash("AssertionError: no ban within 20 s\nassert False"), "no ban within 20 s"),
        ("file a.py, line 3\nE       fixture 'x' not found", "fixture 'x' not found"),
        ("only this", "only this"),
        ("", "no reason given"),
        (
            crash(
                "AssertionError: Unexpected exit code 5 for CommandResult(backend=<x>, "
                "exit_status=5, command=b'sudo sh', _stdout=b'o', _stderr=b'no such thing\\n')"
            ),
            "exit code 5: no such thing",
        ),
    ],
)
def test_the_first_line_of_a_failure_is_found(longrepr: object, line: str) -> None:
    assert crash_line({"longrepr": longrepr}) == line


def test_a_run_with_a_pass_and_a_deferral_is_good() -> None:
    other = [{**entry, "nodeid": "checks/a.py::test_b"} for entry in DEFERRED]
    report = pytest_run.conclude(0, lines(*PASSED, *other), "", name="layer1")
    assert report.summary == "1 passed, 1 deferred"


COLLECT = {
    "$report_type": "CollectReport", "nodeid": "checks/a.py", "outcome": "failed",
    "longrepr": "checks/a.py:1: in <module>\nE   ImportError: no module x",
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "log_lines", "output", "message", "details"),
    [
        (1, lines(*FAILED), "", "1 of 1 checks of layer1 failed: a", "a [a.py::test_a]: 1 == 2"),
        (0, lines(*FAILED), "", "1 of 1 checks of layer1 failed", "1 == 2"),
        (1, lines(*PASSED), "x", "code 1: it reports a failure that its log does not have", "x"),
        (2, lines(*PASSED), "x", "code 2: it was interrupted", "x"),
        (2, lines(COLLECT), "", "cannot be loaded: checks/a.py", "ImportError: no module x"),
        (3, lines(*PASSED), "INTERNALERROR> x", "code 3: it crashed", "INTERNALERROR> x"),
        (4, [], "noise\nERROR: no machine", "code 4: it cannot start", "ERROR: no machine"),
        (5, lines(*DEFERRED), "", "code 5: no check ran", ""),
        (0, lines(*DEFERRED), "", "the checks of layer1 passed nothing: 1 deferred", ""),
        (0, [], "", "the checks of layer1 passed nothing: no checks", ""),
        (-9, lines(*PASSED), "", "code -9: it was killed", ""),
        (99, lines(*PASSED), "", "code 99: unknown to us", ""),
    ],
)
def test_a_run_that_proves_nothing_is_an_error(
    code: int, log_lines: list[str], output: str, message: str, details: str
) -> None:
    with pytest.raises(CheckError) as caught:
        pytest_run.conclude(code, log_lines, output, name="layer1")
    assert message in caught.value.message
    assert details in caught.value.details


def check(outcome: Outcome, evidence: Evidence, id: str = "a") -> Check:
    return Check(id=id, title="a", group="layer1", outcome=outcome, evidence=evidence)


@pytest.mark.parametrize(
    ("one", "other", "best"),
    [
        (check("deferred", "container"), check("passed", "vm"), check("passed", "vm")),
        (check("passed", "vm"), check("deferred", "container"), check("passed", "vm")),
        (check("passed", "container"), check("passed", "vm"), check("passed", "vm")),
        (check("passed", "hardware"), check("passed", "vm"), check("passed", "hardware")),
        (check("failed", "container"), check("passed", "hardware"), check("failed", "container")),
    ],
)
def test_the_most_telling_outcome_counts(one: Check, other: Check, best: Check) -> None:
    merged = merge([CheckReport(checks=(one,)), CheckReport(checks=(other,))])
    assert merged.checks == (best,)


def test_merging_keeps_what_only_one_machine_judged() -> None:
    one, other = check("passed", "vm", "a"), check("deferred", "vm", "b")
    merged = merge([CheckReport(checks=(one,)), CheckReport(checks=(other,))])
    assert merged.checks == (one, other)


@pytest.mark.parametrize(
    ("line", "total"),
    [
        ("collecting ... collected 58 items", "58"),
        ("collected 1 item", "1"),
        ("collecting ... collected 235 items / 231 deselected / 4 selected", "4"),
        ("plugins: timeout-2.4.0", ""),
    ],
)
def test_the_number_of_checks_is_known(line: str, total: str) -> None:
    follower = pytest_run.Follower(io.StringIO())
    follower.follow(line)
    assert follower.total == total


def test_no_check_is_told_before_their_number_is_known() -> None:
    entry = {"$report_type": "TestReport", "when": "teardown", "nodeid": "a", "user_properties": []}
    follower = pytest_run.Follower(io.StringIO(json.dumps(entry) + "\n"))
    seen: list[log.Event] = []
    with log.listening(seen.append):
        follower.follow("rootdir: /x")  # printed before, read after the first check had ended
        assert [event.text for event in seen if event.kind == "status"] == []
        follower.follow("collected 3 items")
    assert [event.text for event in seen if event.kind == "status"] == ["check 1 of 3: a"]


def judge(root: Path, folder: Path, timeout_s: float = 60) -> CheckReport:
    spec = folder / "cube.toml"
    spec.write_text(SPEC)
    one = pytest_run.CheckRun(
        target=root,
        select=["checks/hygiene/test_identity.py"],
        spec_file=spec,
        results_dir=folder / "results",
        name="identity",
    )
    return pytest_run.run_checks(one, timeout_s=timeout_s)


def test_an_image_is_judged_for_real(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", {})
    seen: list[log.Event] = []
    with log.listening(seen.append):
        report = judge(tmp_path / "tree", tmp_path)
    assert report.summary == f"{len(report.checks)} passed"
    first = report.checks[0]
    assert first.title == "machine id is made at the first boot"
    assert first.id.endswith("test_identity.py::test_machine_id_is_made_at_the_first_boot")
    assert (first.group, first.evidence) == ("hygiene", "image")
    waits = [event.text for event in seen if event.kind == "status"]
    assert waits[0] == f"check 1 of {len(waits)}: machine id is made at the first boot"
    assert len(waits) == len(report.checks)


def test_a_real_failure_names_the_check_and_what_it_found(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", {"etc/ssh/ssh_host_rsa_key": "x"})
    with pytest.raises(CheckError) as caught:
        judge(tmp_path / "tree", tmp_path)
    assert caught.value.message.endswith("checks of identity failed: ssh host keys are absent")
    assert "found etc/ssh/ssh_host_rsa_key" in caught.value.details
    assert "--root=PATH" in caught.value.hint


def test_a_machine_that_does_not_answer_is_one_error(tmp_path: Path) -> None:
    endpoint = Endpoint(
        host="127.0.0.1", port=1, user="x", key_file=tmp_path / "k", known_hosts=tmp_path / "h"
    )
    with pytest.raises(CheckError) as caught:
        pytest_run.run_checks(
            pytest_run.CheckRun(
                target=endpoint,
                select=["checks"],
                marker="layer1",
                spec_file=Path("cube.toml"),
                results_dir=tmp_path,
                name="layer1",
            )
        )
    assert "cannot log in as x@127.0.0.1:1" in caught.value.details


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", {})
    with pytest.raises(CommandError, match="did not end within 0 s"):
        judge(tmp_path / "tree", tmp_path, timeout_s=0.05)
