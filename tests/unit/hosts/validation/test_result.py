"""Tests of cube.hosts.validation.result: nothing that contradicts itself is a pass."""

import json
from typing import Any

import pytest

from cube.hosts.validation.result import parse

OK = {"name": "one", "status": "OK", "detail": "fine"}
FAIL = {"name": "two", "status": "FAIL", "detail": "7, limit 8", "value": 7, "limit": 8}
SKIP = {"name": "three", "status": "SKIP", "detail": "deferred: no GPU"}


def printed(**changes: Any) -> str:
    data = {
        "check": "pytorch",
        "outcome": "pass",
        "evidence": "cpu",
        "reason": "",
        "checks": [OK, SKIP],
        "figures": {"step_seconds": 1.5},
        "versions": {"torch": "2.13.0"},
    }
    return json.dumps({**data, **changes})


def read(text: str, code: int, output: str = "") -> tuple[str, str]:
    result = parse("pytorch", text, code, seconds=1.0, output=output)
    return result.outcome, result.reason


def test_a_pass_is_read_whole() -> None:
    result = parse("pytorch", printed(), 0, seconds=2.0, output="... step 1")

    assert (result.outcome, result.evidence, result.seconds) == ("pass", "cpu", 2.0)
    assert result.figures == {"step_seconds": 1.5}
    assert [one.deferred for one in result.findings] == [False, True]
    assert result.summary == "passed on cpu: 1 OK, 1 SKIP"


def test_a_failure_keeps_its_numbers() -> None:
    result = parse("pytorch", printed(outcome="fail", checks=[FAIL]), 1, seconds=1.0, output="")

    assert [(one.value, one.limit) for one in result.having("FAIL")] == [(7.0, 8.0)]


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        (printed(), 1, "it says pass, and its exit code 1 says fail"),
        (printed(checks=[OK, FAIL]), 0, "it says that it passed"),
        (printed(checks=[SKIP]), 0, "it says that it passed"),
        (printed(checks=[]), 0, "it says that it passed"),
        (printed(outcome="fail"), 1, "names no check"),
        (printed(check="vllm"), 0, "it is of vllm"),
        (printed(evidence="hope"), 0, "'hope' is none of"),
        (printed(checks=[OK, OK]), 0, "names a check twice: one"),
        (printed(checks=[{"name": "x"}]), 0, "cannot be read"),
        (printed()[:-5], 0, "cannot be read"),
        ("", 0, "cannot be read"),
        ("[]", 0, "cannot be read"),
    ],
)
def test_what_contradicts_itself_is_an_error(text: str, code: int, reason: str) -> None:
    outcome, said = read(text, code)

    assert outcome == "error"
    assert reason in said


@pytest.mark.parametrize("code", [2, 3, 126, 137, 255])
def test_an_unknown_exit_code_is_an_error_with_the_last_words(code: int) -> None:
    assert read(printed(), code, "first\ntorch is broken") == (
        "error",
        f"exit code {code}: torch is broken",
    )


def test_what_did_not_run_says_why() -> None:
    text = printed(outcome="not_run", evidence="none", reason="no GPU", checks=[])

    assert read(text, 77) == ("not_run", "no GPU")
