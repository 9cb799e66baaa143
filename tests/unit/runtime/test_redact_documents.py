"""No document that a build or a box leaves behind has a login of a URL."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cube.build import report
from cube.cli.output import tell
from cube.hosts.validation import record
from cube.hosts.validation.result import Finding, SuiteResult
from cube.hosts.validation.validation import Validation
from cube.runtime import check_report
from cube.seal import manifest
from deploy.runner import events

GOLDEN = Path(__file__).parents[2] / "golden" / "manifest.json"
#: Letters of passwords: those that end a login for one parser or another, and others.
PASSWORDS = st.text(st.sampled_from("ab/@:%?#&=+\\'\"[]é€😀"), max_size=10).map("S3cr{}et7".format)
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def shows(text: str) -> bool:
    return "S3cr" in text or "et7" in text


def url_with(password: str) -> str:
    return f"http://me:{password}@proxy.example:3128/x"


def a_check(reason: str) -> check_report.Check:
    """Read a check that failed as pytest's report log has it."""
    phase = {
        "$report_type": "TestReport",
        "nodeid": "checks/a.py::test_a",
        "when": "call",
        "outcome": "failed",
        "longrepr": reason,
        "duration": 0.1,
        "user_properties": [["title", f"a {reason}"]],
    }
    return check_report.read_check([phase])


@BOUNDED
@given(password=PASSWORDS)
def test_what_checks_say(password: str) -> None:
    check = a_check(f"cannot open {url_with(password)}: refused")
    assert check.reason.startswith("cannot open http://***@")
    assert not shows(check.title + check.reason)


@BOUNDED
@given(password=PASSWORDS)
def test_manifest_and_report(tmp_path: Path, password: str) -> None:
    data: dict[str, Any] = json.loads(GOLDEN.read_text())
    data["checks"]["results"][0] |= {"title": f"asks {url_with(password)}"}
    data["layers"][0] |= {"reason": f"from {url_with(password)}"}
    manifest.write(tmp_path / "manifest.json", data)
    failure = report.Failure(stage="x", message="y")
    report.write(tmp_path / "report.html", data, failure)
    for name in ("manifest.json", "report.html"):
        assert not shows((tmp_path / name).read_text())
    manifest.read(tmp_path / "manifest.json")


@BOUNDED
@given(password=PASSWORDS)
def test_validation(tmp_path: Path, password: str) -> None:
    said = f"no answer of {url_with(password)}"
    one = SuiteResult(
        suite="docker",
        outcome="fail",
        evidence="cpu",
        findings=(Finding(name=said, status="FAIL", detail=said),),
    )
    found = Validation(
        box="desk1", began=datetime(2026, 12, 1, tzinfo=UTC), quick=True, results=(one,)
    )
    for path in record.write(tmp_path, found).values():
        assert not shows(path.read_text())


@BOUNDED
@given(password=PASSWORDS)
def test_events_of_pyinfra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv(events.VARIABLE, str(tmp_path / "events"))
    events.emit("end", name=f"Use {url_with(password)}", output=[url_with(password)])
    assert not shows((tmp_path / "events").read_text())


@BOUNDED
@given(password=PASSWORDS)
@pytest.mark.parametrize("view", ["json", "plain"])
def test_results(capsys: pytest.CaptureFixture[str], password: str, view: str) -> None:
    url = url_with(password)
    tell(view, "x", {"a": {"b": [url]}, url: 1}, f"made from {url}")
    out = capsys.readouterr().out
    assert "***" in out
    assert not shows(out)
