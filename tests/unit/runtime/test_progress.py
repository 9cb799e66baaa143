"""What a person, a log and a program see of the same events."""

import io
import json
import resource
from pathlib import Path

import pytest
from rich.console import Console

from cube.runtime import log, progress


def play() -> None:
    with log.step("Stage 3: provisioning", stage=3):
        log.status("waiting for sshd")
        log.status("waiting for sshd")
        log.operation("Install packages", seconds=12.3, changed=True, role="common")
        log.debug("$ apt-get update")
        log.warning("no admin key")


def test_plain_lines() -> None:
    stream = io.StringIO()
    with log.listening(progress.Plain(stream)):
        play()
    lines = stream.getvalue().splitlines()
    assert lines[:4] == [
        "→ Stage 3: provisioning",
        "  … waiting for sshd",
        "  changed Install packages (12 s)",
        "  ! no admin key",
    ]
    assert lines[4].startswith("✓ Stage 3: provisioning (")
    assert len(lines) == 5


def test_json_lines() -> None:
    stream = io.StringIO()
    with log.listening(progress.Json(stream)):
        play()
    records = [json.loads(row) for row in stream.getvalue().splitlines()]
    assert [record["kind"] for record in records] == [
        "step",
        "status",
        "status",
        "operation",
        "warning",
        "done",
    ]
    assert records[3]["role"] == "common"
    assert records[0]["stage"] == 3


def test_the_log_file_has_everything_and_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "build" / "build.log"
    for _ in range(2):
        with progress.log_file(path):
            play()
    assert "$ apt-get update" in path.read_text()
    assert path.with_name("build.log.1").read_text().count("apt-get") == 1


def test_the_live_view_draws_what_runs() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    view = progress.LiveView(console)
    with log.listening(view), log.step("Stage 3"), log.step("Layer 1"):
        log.status("waiting for sshd")
        console.print(view)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Stage 3" in drawn
    assert "Layer 1" in drawn
    assert "waiting for sshd" in drawn


def test_an_error_is_not_read_as_markup() -> None:
    text = progress.error_text("bad [red]value[/red]", "do [x]", "tail [/]")
    console = Console(file=io.StringIO(), width=200)
    console.print(text)
    assert "bad [red]value[/red]" in console.file.getvalue()  # type: ignore[attr-defined]


def fail_on_a_full_disk(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with progress.log_file(path):
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
            log.info("no byte of this is written")
            raise ZeroDivisionError
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_log_file_that_cannot_grow_does_not_hide_what_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_on_a_full_disk(tmp_path / "build.log")
    assert (tmp_path / "build.log").read_text() == ""
