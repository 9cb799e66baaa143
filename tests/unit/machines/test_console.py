from pathlib import Path

import pytest

from cube.machines import MachineRequest, console
from cube.runtime.errors import CommandError, MachineError


def test_tail_is_free_of_terminal_control(tmp_path: Path) -> None:
    file = tmp_path / "console.log"
    file.write_bytes(b"\x1b[2J\x1b[0;32m  OK  \x1b[0m] Started\r\n\n\x1b]0;title\x07login: \r\n")
    assert console.tail(file) == "OK  ] Started\nlogin: ".strip()


def test_tail_has_the_last_lines(tmp_path: Path) -> None:
    file = tmp_path / "console.log"
    file.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert console.tail(file, lines=2) == "line 99998\nline 99999"


def test_bytes_that_are_no_text_do_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "console.log"
    file.write_bytes(b"\xff\xfe panic\n")
    assert console.tail(file).endswith("panic")


def test_no_console_is_no_lines(tmp_path: Path) -> None:
    assert console.tail(tmp_path / "missing") == ""


@pytest.mark.parametrize("cause", [MachineError("no SSH"), CommandError("no SSH")])
def test_failure_names_the_machine_and_shows_its_console(
    tmp_path: Path, cause: MachineError | CommandError
) -> None:
    request = MachineRequest(
        name="build", disk=tmp_path / "d", run_dir=tmp_path, key_file=tmp_path / "k"
    )
    console.file_of(tmp_path).write_text("Kernel panic\n")
    with (
        pytest.raises(MachineError, match="machine build: no SSH") as caught,
        console.explained(request),
    ):
        raise cause
    assert caught.value.details == "Kernel panic"
    assert "console.log" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "sign"),
    [
        ("Booting from Floppy...\nNo bootable device.\n", "No bootable device."),
        ("\x1b[01;01HUEFI Interactive Shell\n\x1b[33m\x1b[40mShell> \x1b[37m", "Shell>"),
        ("[ 1.2] Kernel panic - not syncing: VFS\n", "Kernel panic - not syncing"),
        ("Debian GNU/Linux 13 cube ttyS0\n\ncube login: ", ""),
        ("", ""),
    ],
)
def test_guest_that_never_comes_up_is_known(tmp_path: Path, said: str, sign: str) -> None:
    console.file_of(tmp_path).write_text(said)
    assert console.hopeless(console.file_of(tmp_path)) == sign
