"""The command lines of `cube apply` and `cube drift`."""

import argparse
import json
from pathlib import Path

import pytest

from cube.cli import apply as commands
from cube.cli import command_line
from cube.hosts import drift, remote
from cube.hosts.apply import Outcome
from cube.hosts.drift import LayerDrift
from cube.hosts.target import Box
from cube.runtime.errors import CubeError, DriftError


def parsed(*words: str) -> argparse.Namespace:
    return command_line.parser().parse_args(words)


def test_apply_takes_a_host_and_what_to_do() -> None:
    args = parsed(
        "apply",
        "desk1",
        "--layers",
        "1,layer5",
        "--prove",
        "--snapshot",
        "--snapshot-size",
        "4 GiB",
        "--reboot",
        "--no-checks",
    )
    assert (args.hosts, args.layers, args.prove, args.snapshot) == (["desk1"], (1, 5), True, True)
    assert (args.snapshot_size, args.reboot, args.checks) == (4096, True, False)


@pytest.mark.parametrize("command", ["apply", "drift"])
def test_little_need_be_said(command: str) -> None:
    args = parsed(command, "anna@192.0.2.10")
    assert (args.hosts, args.layers, args.checks, args.os) == (["anna@192.0.2.10"], (), True, None)


@pytest.mark.parametrize(
    "words",
    [
        ["apply"],
        ["drift"],
        ["apply", "desk1", "--layers", "6"],
        ["apply", "desk1", "--layers", ""],
        ["apply", "desk1", "--snapshot-size", "4"],
        ["drift", "desk1", "--prove"],
        ["apply", "--all", "--jobs", "0"],
        ["apply", "--all", "--timeout", "90"],
        ["drift", "--all", "--timeout", "0 s"],
    ],
)
def test_a_wrong_command_line_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize("command", ["apply", "drift"])
def test_an_unknown_host_is_told(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cube.toml"
    file.write_text('[build]\ndir = "build"\n')
    assert (
        command_line.main([command, "desk9", "--spec", str(file), "--plain"]) == CubeError.exit_code
    )
    assert "no host is called desk9 (known: none)" in capsys.readouterr().err


def test_what_was_applied_is_told_with_a_restart_that_is_due() -> None:
    done = [
        Outcome(layer=1, operations=2, restart="kernel b is installed, a runs"),
        Outcome(layer=2, skipped="no GPU"),
    ]
    assert commands.applied_text("desk1", done).splitlines() == [
        "desk1:",
        "  layer 1  2 operations, nothing changed; not checked; 0.0 s",
        "  layer 2  skipped: no GPU",
        "  it needs a restart: kernel b is installed, a runs",
    ]


def test_a_restart_that_was_made_is_not_due() -> None:
    done = [Outcome(layer=1, restart="asked for"), Outcome(layer=5)]
    assert "needs a restart" not in commands.applied_text("desk1", done)


@pytest.fixture
def compared(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[LayerDrift]:
    """What a comparison finds; the words before it are those of any box."""
    (tmp_path / "cube.toml").write_text('[build]\ndir = "build"\n')
    found: list[LayerDrift] = []
    monkeypatch.setattr(commands, "find", lambda *_: box)
    monkeypatch.setattr(remote, "reach", lambda box: box)
    monkeypatch.setattr(drift, "compare", lambda *_, **__: found)
    return found


def run(folder: Path, *more: str) -> int:
    return command_line.main(["drift", "desk1", "--spec", str(folder / "cube.toml"), *more])


def test_no_drift_is_success(
    compared: list[LayerDrift], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared.append(LayerDrift(layer=1, operations=46))
    assert run(tmp_path, "--plain") == 0
    assert capsys.readouterr().out == "layer 1: no drift in 46 operations\n"


def test_drift_is_told_and_has_an_exit_code(
    compared: list[LayerDrift], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared += [LayerDrift(layer=1, operations=46), LayerDrift(layer=5, problem="gone")]
    assert run(tmp_path, "--plain") == DriftError.exit_code
    told = capsys.readouterr()
    assert told.out == "layer 1: no drift in 46 operations\n"
    assert "desk1 differs from what it claims: layer 5" in told.err
    assert "layer 5: gone" in told.err
    assert "cube apply desk1 --layers 5" in told.err


def test_a_program_gets_all_of_it(
    compared: list[LayerDrift], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared.append(LayerDrift(layer=5, problem="gone"))
    assert run(tmp_path, "--json") == DriftError.exit_code
    result, error = map(json.loads, capsys.readouterr().out.splitlines())
    assert (result["kind"], result["box"], result["drift"]) == ("drift", "desk1", True)
    assert result["layers"][0]["problem"] == "gone"
    assert (error["kind"], error["exit_code"]) == ("error", DriftError.exit_code)
