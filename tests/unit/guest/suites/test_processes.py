"""The processes of a suite: the whole family is found, whatever else comes and goes."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guest.suites import processes


@contextlib.contextmanager
def child(*argv: str | bytes) -> Iterator["subprocess.Popen[str]"]:
    """A child that is ended when the block is left."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_child_and_what_it_starts_are_found() -> None:
    with child("sh", "-c", "sleep 600 & echo $!; wait") as process:
        assert process.stdout
        grandchild = int(process.stdout.readline())
        found = processes.family()
        os.kill(grandchild, signal.SIGKILL)
    assert {process.pid, grandchild} <= set(found)


def test_one_that_ends_while_it_is_looked_at_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel says ESRCH of a file below /proc whose process has just ended."""

    def gone(function: Any) -> Any:
        def call(path: Any, *arguments: Any, **more: Any) -> Any:
            if str(path) == f"/proc/{process.pid}/stat":
                raise ProcessLookupError(3, "No such process", str(path))
            return function(path, *arguments, **more)

        return call

    with child("sleep", "600") as process:
        monkeypatch.setattr(os, "stat", gone(os.stat))
        monkeypatch.setattr(Path, "open", gone(Path.open))
        assert process.pid not in processes.family()


def test_a_name_that_is_no_text_is_one_like_any(tmp_path: Path) -> None:
    program = os.fsencode(tmp_path) + b"/caf\xe9"
    shutil.copy(os.fsencode(shutil.which("sleep") or ""), program)
    with child(program, "600") as process:
        assert process.pid in processes.family()
