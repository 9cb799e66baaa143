"""The command line: what it accepts, and how errors leave it."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cube.build import debug_machine, doctor
from cube.cli import command_line
from cube.runtime.errors import ChainError, CommandError, CubeError, HostError, SpecError

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    file = tmp_path / "cube.toml"
    file.write_text('[build]\ndir = "build"\n')
    return file


def test_a_command_is_split_from_ours() -> None:
    assert command_line.split_command(["ssh", "debian-13", "--", "ls", "-l", "--", "x"]) == (
        ["ssh", "debian-13"],
        ["ls", "-l", "--", "x"],
    )
    assert command_line.split_command(["ssh"]) == (["ssh"], [])


@pytest.mark.parametrize("words", [[], ["nonsense"], ["build", "beos"], ["build", "--nonsense"]])
def test_a_wrong_command_line_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize("command", ["build", "verify", "doctor", "up", "ssh", "down"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main([command, "--help"])
    assert caught.value.code == 0
    assert "--spec FILE" in capsys.readouterr().out


def test_every_command_is_documented() -> None:
    text = (PROJECT / "docs" / "reference.md").read_text()
    for command in ("build", "verify", "doctor", "up", "ssh", "down"):
        assert f"`cube {command}" in text


@pytest.mark.parametrize("view", ["--json", "--plain"])
def test_what_the_doctor_finds_is_a_result(
    monkeypatch: pytest.MonkeyPatch, spec_file: Path, view: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = doctor.Finding(level="ok", subject="ssh", text="/usr/bin/ssh")
    monkeypatch.setattr(doctor, "examine", lambda _: [fine])
    assert command_line.main(["doctor", view, "--spec", str(spec_file)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    if view == "--json":
        found = {
            "level": "ok",
            "subject": "ssh",
            "text": "/usr/bin/ssh",
            "remedy": "",
            "asked": False,
        }
        assert json.loads(first) == {"kind": "doctor", "findings": [found]}
    else:
        assert first.split() == ["ok", "ssh", "/usr/bin/ssh"]


def test_an_error_is_text_for_people(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec_file.write_text("[image]\nos = 'beos'\n")
    assert command_line.main(["verify", "--spec", str(spec_file)]) == SpecError.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err
    assert "choose 'debian-13' or 'ubuntu-24.04'" in captured.err


def test_an_error_is_an_object_for_programs(
    spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec_file.write_text("[image]\nos = 'beos'\n")
    assert command_line.main(["verify", "--json", "--spec", str(spec_file)]) == SpecError.exit_code
    record = json.loads(capsys.readouterr().out)
    assert record["kind"] == "error"
    assert record["error"] == "SpecError"
    assert record["exit_code"] == SpecError.exit_code


@pytest.mark.parametrize("command", ["ssh", "down"])
def test_no_machine_is_up(
    command: str, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main([command, "--plain", "--spec", str(spec_file)]) == CubeError.exit_code
    assert "no machine of debian-13 is up" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("at", "kind", "expected"),
    [
        ("", ChainError, "there is no link yet"),
        ("layer9", ChainError, "there is no link 'layer9'"),
        ("failed", CubeError, "unfinished/disk.qcow2"),
        ("image", CubeError, "build it first"),
    ],
)
def test_there_is_nothing_to_boot(
    at: str,
    kind: type[CubeError],
    expected: str,
    spec_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["up", "--plain", "--spec", str(spec_file), *(["--at", at] if at else [])]
    assert command_line.main(words) == kind.exit_code
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--firmware", "coreboot"], ["--firmware"]])
def test_unknown_firmware_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main(["up", *words])
    assert caught.value.code == 2


def test_a_container_with_a_firmware_is_refused(
    spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["up", "--machine", "container", "--firmware", "secure-boot"]
    assert command_line.main([*words, "--plain", "--spec", str(spec_file)]) == CubeError.exit_code
    told = capsys.readouterr().err
    assert "--firmware secure-boot needs a vm" in told
    assert "--machine vm" in told


@pytest.mark.parametrize(
    ("words", "kind", "firmware"),
    [
        ([], "container", ""),
        (["--firmware", "uefi"], "vm", "uefi"),
        (["--firmware", "bios", "--machine", "auto"], "auto", "bios"),
        (["--machine", "vm"], "vm", ""),
    ],
)
def test_a_firmware_asks_for_a_vm(
    monkeypatch: pytest.MonkeyPatch, spec_file: Path, words: list[str], kind: str, firmware: str
) -> None:
    spec_file.write_text('[build]\ndir = "build"\nmachine = "container"\n')
    asked: dict[str, object] = {}
    monkeypatch.setattr(debug_machine, "up", lambda _, **options: asked.update(options))
    assert command_line.main(["up", *words, "--plain", "--spec", str(spec_file)]) == 0
    assert asked == {"at": "", "kind": kind, "firmware": firmware}


def test_a_folder_that_cannot_be_written_is_told(
    spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spec_file.parent / "build").write_text("a file where the build folder should be")
    assert command_line.main(["build", "--plain", "--spec", str(spec_file)]) == HostError.exit_code
    captured = capsys.readouterr()
    assert "build" in captured.err
    assert "error: " in captured.err


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "cube chain prune"),
        (errno.EDQUOT, "cube chain prune"),
        (errno.EACCES, "sudo"),
        (errno.EROFS, "a place that can be written"),
        (errno.EISDIR, "name a file"),
        (errno.ENOTDIR, "a file stands where a folder should be"),
        (errno.ENOENT, "check how the path is written"),
        (errno.ELOOP, "a link leads back to itself"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EIO, ""),
    ],
)
def test_an_error_of_the_system_has_a_hint_where_one_helps(number: int, told: str) -> None:
    hint = command_line.remedy(OSError(number, "x"))
    assert told in hint
    assert bool(told) is bool(hint)


def test_ssh_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debug_machine, "ssh_command", lambda *_: ["ssh", "box"])
    monkeypatch.setenv("PATH", "")
    assert command_line.main(["ssh", "--plain", "--spec", str(spec_file)]) == CommandError.exit_code
    assert "ssh: program not found" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--json"], ["--plain"]])
@pytest.mark.parametrize(("os", "code"), [("beos", SpecError), ("debian-13", HostError)])
def test_an_output_that_is_full_is_one_clear_error(
    spec_file: Path, words: list[str], os: str, code: type[CubeError]
) -> None:
    spec_file.write_text(f"[image]\nos = '{os}'\n")
    command = [sys.executable, "-m", "cube", "doctor", *words, "--spec", str(spec_file)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=PROJECT
        )
    assert done.returncode == code.exit_code, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["build", "http://me:S3cret@host/"],
        ["certify", "desk1", "--key", "k", "--except", "http://me:S3cret@host/"],
        ["chain", "prune", "--max-size", "http://me:S3/cret@host/"],
    ],
)
def test_a_wrong_command_line_shows_no_login(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command_line.main(words)
    err = capsys.readouterr().err
    assert "***" in err
    assert "S3" not in err


@pytest.mark.parametrize("word", ["me:S3cret@host", "ssh://me:S3/cret@host", "me:S3@cret@host:22"])
@pytest.mark.parametrize("view", ["--json", "--plain"])
def test_no_login_of_a_host_is_shown(
    word: str, view: str, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["drift", word, view, "--spec", str(spec_file)]) == CubeError.exit_code
    captured = capsys.readouterr()
    assert "S3" not in captured.out + captured.err


@pytest.mark.parametrize("command", ["validate", "certify"])
def test_a_command_for_one_host_promises_no_more(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command_line.main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "user@address[:port]" in text
    for word in ("pattern", "desk*", "several", "side by side", "--all"):
        assert word not in text


@pytest.mark.parametrize("command", ["apply", "drift"])
def test_a_command_for_several_hosts_says_so(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command_line.main([command, "--help"])
    assert "side by side" in " ".join(capsys.readouterr().out.split())
