"""The gate: everything is looked at, whatever one look finds."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cube import config
from cube.build import verify
from cube.config import Spec
from cube.runtime import log
from cube.runtime.errors import HostError, VerifyError

Problems = Callable[[Spec], list[str]]


def no_tool(wanted: Spec) -> list[str]:
    raise HostError(f"no tool for {wanted.image.os}", hint="install it")


def test_a_gate_that_cannot_look_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gates = (
        verify.Gate(name="First", problems=no_tool),
        verify.Gate(name="Second", problems=lambda _: ["a", "b"]),
        verify.Gate(name="Third", problems=lambda _: []),
    )
    monkeypatch.setattr(verify, "GATES", gates)
    with pytest.raises(
        VerifyError, match="verification found 3 problems; nothing was built"
    ) as caught:
        verify.verify(config.load_text("", tmp_path / "cube.toml"))
    assert caught.value.details.splitlines() == [
        "First: no. no tool for debian-13",
        "install it",
        "Second: no. a",
        "Second: no. b",
    ]


def test_lint_leaves_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("deploy", "guest", "checks"):
        (tmp_path / name).mkdir()
    (tmp_path / "inventory.py").write_text("import os, sys\n")
    monkeypatch.setattr(verify, "PROJECT", tmp_path)
    problems = verify.lint(config.load_text("", tmp_path / "cube.toml"))
    assert "inventory.py:1:" in problems[0]
    assert not (tmp_path / ".ruff_cache").exists()


def two_gates(monkeypatch: pytest.MonkeyPatch, first: Problems, second: Problems) -> None:
    gates = (verify.Gate(name="First", problems=first), verify.Gate(name="Second", problems=second))
    monkeypatch.setattr(verify, "GATES", gates)


def test_gates_are_asked_at_once_and_told_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2, timeout=20)

    def ask(name: str) -> Problems:
        def problems(_: Spec) -> list[str]:
            meeting.wait()  # nobody passes alone
            log.info(f"{name} was asked")
            return [f"{name} is wrong"]

        return problems

    two_gates(monkeypatch, ask("one"), ask("two"))
    told: list[log.Event] = []
    with log.listening(told.append), pytest.raises(VerifyError, match="2 problems") as caught:
        verify.verify(config.load_text("", Path("cube.toml")))
    assert caught.value.details == "First: no. one is wrong\nSecond: no. two is wrong"
    assert [one.text for one in told if one.kind != "debug"] == [
        "First",
        "one was asked",
        "First",
        "one is wrong",
        "Second",
        "two was asked",
        "Second",
        "two is wrong",
    ]


def test_what_a_gate_told_before_it_broke_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Spec) -> list[str]:
        log.info("so far")
        raise ZeroDivisionError

    two_gates(monkeypatch, broken, lambda _: [])
    told: list[str] = []
    with log.listening(lambda one: told.append(one.text)), pytest.raises(ZeroDivisionError):
        verify.verify(config.load_text("", Path("cube.toml")))
    assert "so far" in told
