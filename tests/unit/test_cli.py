"""The command line: what it accepts, and how errors leave it."""

import errno
import json
from pathlib import Path

import pytest

from cube import cli
from cube.errors import ChainError, CubeError, HostError, SpecError

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    file = tmp_path / "cube.toml"
    file.write_text('[build]\ndir = "build"\n')
    return file


def test_a_command_is_split_from_ours() -> None:
    assert cli.split_command(["ssh", "debian-13", "--", "ls", "-l", "--", "x"]) == (
        ["ssh", "debian-13"],
        ["ls", "-l", "--", "x"],
    )
    assert cli.split_command(["ssh"]) == (["ssh"], [])


@pytest.mark.parametrize("words", [[], ["nonsense"], ["build", "beos"], ["build", "--nonsense"]])
def test_a_wrong_command_line_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize("command", ["build", "verify", "doctor", "up", "ssh", "down"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert "--spec FILE" in capsys.readouterr().out


def test_every_command_is_documented() -> None:
    text = (PROJECT / "docs" / "commands.md").read_text()
    for command in ("build", "verify", "doctor", "up", "ssh", "down"):
        assert f"`cube {command}" in text


def test_an_error_is_text_for_people(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec_file.write_text("[image]\nos = 'beos'\n")
    assert cli.main(["verify", "--spec", str(spec_file)]) == SpecError.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err
    assert "choose 'debian-13' or 'ubuntu-24.04'" in captured.err


def test_an_error_is_an_object_for_programs(
    spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec_file.write_text("[image]\nos = 'beos'\n")
    assert cli.main(["verify", "--json", "--spec", str(spec_file)]) == SpecError.exit_code
    record = json.loads(capsys.readouterr().out)
    assert record["kind"] == "error"
    assert record["error"] == "SpecError"
    assert record["exit_code"] == SpecError.exit_code


@pytest.mark.parametrize("command", ["ssh", "down"])
def test_no_machine_is_up(
    command: str, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--plain", "--spec", str(spec_file)]) == CubeError.exit_code
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
    assert cli.main(words) == kind.exit_code
    assert expected in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told(
    spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spec_file.parent / "build").write_text("a file where the build folder should be")
    assert cli.main(["build", "--plain", "--spec", str(spec_file)]) == HostError.exit_code
    captured = capsys.readouterr()
    assert "build" in captured.err
    assert "error: " in captured.err


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "cube chain prune"),
        (errno.EDQUOT, "cube chain prune"),
        (errno.EACCES, "sudo"),
        (errno.EIO, ""),
    ],
)
def test_an_error_of_the_system_has_a_hint_where_one_helps(number: int, told: str) -> None:
    hint = cli.remedy(OSError(number, "x"))
    assert told in hint
    assert bool(told) is bool(hint)
