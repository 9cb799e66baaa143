"""The command lines of `cube apply` and `cube drift`."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cube import config
from cube.cli import apply as commands
from cube.cli import command_line
from cube.hosts import apply, drift, plan, remote
from cube.hosts.apply import Outcome
from cube.hosts.drift import LayerDrift
from cube.hosts.plan import Plan, Refusal
from cube.hosts.survey import Survey
from cube.hosts.target import Box
from cube.runtime.errors import CubeError, DriftError, PlanError


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


@pytest.mark.parametrize("words", [["--allow", "everything"], ["--allow", ""]])
def test_only_what_is_refused_can_be_allowed(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main(["apply", "desk1", *words])
    assert caught.value.code == 2


def test_a_command_line_allows_more_than_cube_toml(tmp_path: Path) -> None:
    text = '[apply]\nallow = ["stop-jobs"]\n'
    spec = config.load_text(text, tmp_path / "cube.toml")
    words = commands.allow_list("stop-containers, close-root")
    assert commands.allowing(spec, words).apply.allow == (
        "stop-jobs",
        "stop-containers",
        "close-root",
    )


@pytest.fixture
def planned(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `cube apply` with options on a host of which a plan is known; nothing is applied."""
    file = tmp_path / "cube.toml"
    file.write_text('[build]\ndir = "build"\n')

    def start(refusals: tuple[Refusal, ...], *options: str) -> int:
        made = Plan(survey=Survey(answers={}), layers=(), refusals=refusals)
        monkeypatch.setattr(commands, "find", lambda *_: [box])
        monkeypatch.setattr(remote, "reach", lambda ways: ways[0])
        monkeypatch.setattr(plan, "make", lambda *_: made)
        monkeypatch.setattr(plan, "guard", lambda _s, found, _w: plan.refuse(found, refusals))
        monkeypatch.setattr(apply, "apply", lambda *_: [Outcome(layer=1, operations=3)])
        return command_line.main(["apply", "desk1", "--spec", str(file), "--plain", *options])

    return start


REFUSED = Refusal(reason="containers would end", remedy="stop them", allow="stop-containers")


def test_a_plan_is_shown_and_nothing_is_applied(
    planned: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned((), "--plan") == 0
    told = capsys.readouterr().out
    assert "apt sources: no package lists are there" in told
    assert "layer 1" not in told


def test_a_plan_that_would_be_refused_says_so(
    planned: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned((REFUSED,), "--plan") == PlanError.exit_code
    printed = capsys.readouterr()
    assert "REFUSED  containers would end (stop them, or --allow stop-containers)" in printed.out
    assert "nothing was changed: containers would end" in printed.err


def test_what_is_refused_is_not_applied(
    planned: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned((REFUSED,)) == PlanError.exit_code
    assert "layer 1" not in capsys.readouterr().out
    assert planned(()) == 0
    assert "layer 1" in capsys.readouterr().out
