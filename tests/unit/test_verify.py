"""The gate: everything is looked at, whatever one look finds."""

from pathlib import Path

import pytest

from cube import spec, verify
from cube.errors import HostError, VerifyError
from cube.spec import Spec


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
    with pytest.raises(VerifyError, match="3 things are wrong") as caught:
        verify.verify(spec.load_text("", tmp_path / "cube.toml"))
    assert caught.value.details.splitlines() == [
        "First: no. no tool for debian-13",
        "install it",
        "Second: no. a",
        "Second: no. b",
    ]


def test_lint_leaves_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("deploy", "checks"):
        (tmp_path / name).mkdir()
    (tmp_path / "inventory.py").write_text("import os, sys\n")
    monkeypatch.setattr(verify, "PROJECT", tmp_path)
    problems = verify.lint(spec.load_text("", tmp_path / "cube.toml"))
    assert "inventory.py:1:" in problems[0]
    assert not (tmp_path / ".ruff_cache").exists()
