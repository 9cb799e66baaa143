"""What all suites of workloads have in common: their modules, arguments, exit codes, JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from guest.suites.command_line import finish
from guest.suites.report import Report
from tests.processes import alive
from tests.unit.guest.conftest import FAKES, Box, interpreter

from .running import FRAMEWORKS, PROGRAMS, judge, names, start

DOCS = Path(__file__).parents[4] / "docs/validate.md"


@pytest.mark.parametrize("suite", PROGRAMS)
def test_help_names_the_flags_and_every_exit_code(box: Box, suite: str) -> None:
    done = box.run(PROGRAMS[suite], "--help")
    assert done.returncode == 0
    for word in ("--json", "--quick", "0 every check", "1 a check failed", "2 it could", "77 NOT"):
        assert word in " ".join(done.stdout.split())


@pytest.mark.parametrize("suite", PROGRAMS)
@pytest.mark.parametrize("argument", ["--jsno", "--limit=0", "--limit=soon", "more"])
def test_a_wrong_argument_is_refused(box: Box, suite: str, argument: str) -> None:
    done = box.run(PROGRAMS[suite], argument)
    assert done.returncode == 2
    assert done.stdout == ""
    assert argument.partition("=")[0] in done.stderr


@pytest.mark.parametrize("suite", FRAMEWORKS)
def test_without_its_environment_it_does_not_run(box: Box, suite: str) -> None:
    code, data = box.judge(PROGRAMS[suite])
    assert code == 77
    assert (data["check"], data["outcome"], data["evidence"]) == (suite, "not_run", "none")
    assert f"there is no environment {suite}" in data["reason"]
    assert "NOT RUN" in box.run(PROGRAMS[suite]).stdout


@pytest.mark.parametrize("suite", FRAMEWORKS)
def test_an_environment_that_is_not_whole_cannot_be_run(box: Box, suite: str) -> None:
    box.write(f"opt/cube/venvs/{suite}/bin/python", "")
    code, data = box.judge(PROGRAMS[suite])
    assert code == 2
    assert data["outcome"] == "not_run"
    assert "apply layer 4 again" in data["reason"]


@pytest.mark.parametrize("suite", FRAMEWORKS)
def test_an_interpreter_that_is_not_there_is_named(box: Box, suite: str) -> None:
    done = box.run(PROGRAMS[suite], "--python", "/no/such/python")
    assert done.returncode == 2
    assert "--python /no/such/python cannot be run" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("suite", FRAMEWORKS)
def test_a_framework_that_cannot_be_imported_cannot_be_run(box: Box, suite: str) -> None:
    done = box.run(PROGRAMS[suite], "--json", "--python", "/usr/bin/python3")
    data = json.loads(done.stdout)
    assert done.returncode == 2
    assert "ModuleNotFoundError: No module named" in data["reason"]


@pytest.mark.parametrize("suite", PROGRAMS)
def test_the_documentation_names_every_check(suite: str) -> None:
    text = DOCS.read_text()
    assert [name for name in names(suite) if f"`{name}`" not in text] == []


# -- the report


def a_report(**more: Any) -> Any:
    return Report(check="x", names=("one", "two"), **more)


def finished(report: Any, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = finish(report)
    return code, json.loads(capsys.readouterr().out)


def test_a_check_without_a_result_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    report = a_report()
    report.record("one", good=True, detail="well")
    code, data = finished(report, capsys)
    assert code == 1
    assert data["checks"][1]["detail"] == "no result: a defect of this suite"


def test_what_an_earlier_failure_kept_from_running_is_a_skip(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = a_report()
    report.record("one", good=False, detail="broken")
    code, data = finished(report, capsys)
    assert (code, data["counts"]) == (1, {"ok": 0, "fail": 1, "skip": 1})
    assert data["checks"][1]["detail"].startswith("not reached")


def test_skips_alone_are_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    report = a_report()
    report.skip("one", "deferred: no GPU")
    report.skip("two", "deferred: no GPU")
    code, data = finished(report, capsys)
    assert (code, data["outcome"], data["evidence"]) == (77, "not_run", "none")


def test_an_unknown_name_and_a_second_result_are_defects() -> None:
    report = a_report()
    report.record("one", good=True, detail="well")
    for name in ("one", "three"):
        with pytest.raises(AssertionError):
            report.record(name, good=True, detail="well")


def test_a_number_has_its_limit_and_unit(capsys: pytest.CaptureFixture[str]) -> None:
    report = a_report()
    report.record("one", good=True, detail="84 %\nof\x1b[31m it", value=84.0, limit=80.0, unit="%")
    report.skip("two", "not here")
    _, data = finished(report, capsys)
    assert data["checks"][0] == {
        "name": "one",
        "status": "OK",
        "detail": "84 % of [31m it",
        "value": 84.0,
        "limit": 80.0,
        "unit": "%",
    }
    assert set(data) == {
        "check",
        "outcome",
        "reason",
        "evidence",
        "counts",
        "checks",
        "figures",
        "versions",
        "seconds",
    }


# -- children


def test_a_worker_that_hangs_is_ended_with_all_that_it_started(box: Box, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    done = start(box, "tensorflow", {"probe": {"hang": str(pid)}}, "--limit", "1")
    assert done.returncode == 2
    assert "hung: no end within its limit; last: ... working" in done.stderr
    assert not alive(int(pid.read_text()))


def test_a_suite_that_is_ended_ends_its_children(box: Box, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    results = {"probe": {"hang": str(pid)}}
    argv = [*interpreter(PROGRAMS["vllm"]), "--python", FAKES / "framework"]
    environment = os.environ | box.environment(FAKE_RESULTS=json.dumps(results))
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as suite:
        wait_for(lambda: pid.exists() and pid.read_text() != "")
        suite.terminate()
        assert suite.wait(timeout=30) == 128 + signal.SIGTERM
    assert not alive(int(pid.read_text()))


def test_workers_end_with_a_suite_that_is_killed(box: Box, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[4])!r})\n"
        "from guest.suites import processes\n"
        "import os, time, subprocess\n"
        "if os.environ.get('CHILD'):\n"
        "    processes.end_with_parent(); print(os.getpid(), flush=True); time.sleep(600)\n"
        "child = subprocess.Popen([sys.executable, __file__], env=os.environ | {'CHILD': '1'})\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, program],
        stdout=subprocess.PIPE,
        text=True,
    ) as suite:
        assert suite.stdout
        pid = int(suite.stdout.readline())
        suite.kill()
    wait_for(lambda: not alive(pid))


def wait_for(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_progress_goes_to_stderr(box: Box) -> None:
    done = start(box, "tensorflow", {"probe": {"code": 3, "log": "said this"}}, "--json")
    assert "... working\n" in done.stderr
    assert "exit code 3: said this" in json.loads(done.stdout)["reason"]


def test_a_stand_in_or_a_fake_root_is_never_hardware(box: Box) -> None:
    results = {
        "probe": {"result": {"versions": {"torch": "2"}, "gpus": ["G"]}},
        "launch 1": {"code": 1},
    }
    box.plug_gpus(1)
    box.expect(gpu_count=1)
    _, data = judge(box, "pytorch", results)
    assert data["evidence"] == "simulated"
