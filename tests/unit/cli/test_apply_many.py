"""What `cube apply` and `cube drift` say of several hosts, and how they end."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cube import config
from cube.cli import apply_many, command_line
from cube.hosts import apply, drift, plan, remote
from cube.hosts.apply import Outcome
from cube.hosts.drift import LayerDrift
from cube.hosts.target import Box
from cube.runtime import log, progress
from cube.runtime.errors import DriftError, HostsError, MachineError, ProvisionError
from cube.runtime.log import Event

TABLE = "".join(f'[hosts.desk{number}]\naddress = "192.0.2.{number}"\n' for number in (1, 2, 3))


@pytest.fixture
def run(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command on hosts of which desk2 does not let us in; no process is started."""
    (tmp_path / "cube.toml").write_text(f'[build]\ndir = "build"\n{TABLE}')

    def find(_spec: object, word: str) -> Box:
        return Box(name=word, endpoint=box.endpoint)

    def enter(box: Box) -> None:
        assert box.endpoint.sockets
        if box.name == "desk2":
            raise MachineError("desk2: refused", hint="look")

    guarded: list[str] = []

    def guard(_spec: object, box: Box, *_: object) -> None:
        guarded.append(box.name)

    def applied(_spec: object, box: Box, *_: object) -> list[Outcome]:
        assert box.name in guarded  # before anything is changed
        enter(box)
        return [Outcome(layer=1, operations=9, changed=("a", "b"))]

    def compared(_spec: object, box: Box, *_: object, **__: object) -> list[LayerDrift]:
        enter(box)
        return [LayerDrift(layer=1, operations=9, problem="gone" if box.name == "desk3" else "")]

    monkeypatch.setattr(apply_many, "find", find)
    monkeypatch.setattr(remote, "reach", lambda box: box)
    monkeypatch.setattr(remote, "hang_up", lambda _box: None)
    monkeypatch.setattr(plan, "guard", guard)
    monkeypatch.setattr(apply, "apply", applied)
    monkeypatch.setattr(drift, "compare", compared)
    return lambda *words: command_line.main([*words, "--spec", str(tmp_path / "cube.toml")])


def test_the_summary_has_a_line_for_each_host(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("apply", "--all", "--plain") == HostsError.exit_code
    told = capsys.readouterr()
    assert [line.split(maxsplit=4)[::4] for line in told.out.splitlines()] == [
        ["desk1", "layer 1: 2 of 9 changed"],
        ["desk2", "desk2: refused"],
        ["desk3", "layer 1: 2 of 9 changed"],
    ]
    assert [line.split()[1] for line in told.out.splitlines()] == ["done", "FAILED", "done"]
    assert "1 of 3 hosts failed: desk2" in told.err
    assert "cube apply desk2" in told.err
    log_file = tmp_path / "build/boxes/desk2/apply.log"
    assert "error: desk2: refused" in log_file.read_text()


def test_a_program_gets_every_host(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("apply", "desk[12]", "--json") == HostsError.exit_code
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (found,) = [one["hosts"] for one in rows if one["kind"] == "hosts"]
    assert [(one["box"], one["state"]) for one in found] == [("desk1", "done"), ("desk2", "failed")]
    assert found[0]["layers"][0]["changed"] == ["a", "b"]
    assert found[1]["error"]["exit_code"] == MachineError.exit_code


def test_a_host_has_one_connection_in_a_folder_of_its_own(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []
    monkeypatch.setattr(apply_many, "find", lambda *_: box)
    monkeypatch.setattr(remote, "execute", lambda box, *_, **__: asked.append(box.endpoint.sockets))
    (tmp_path / "cube.toml").touch()
    with apply_many.reached(config.load(tmp_path / "cube.toml"), "desk1", tmp_path) as found:
        assert found.endpoint.sockets
        assert found.endpoint.sockets.parent == tmp_path
        assert replace(found.endpoint, sockets=None) == box.endpoint
        assert asked == [found.endpoint.sockets]


@pytest.mark.parametrize("refused", [True, False])
def test_a_host_that_lets_nobody_in_is_the_cause_of_a_failed_layer(
    refused: bool, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(_box: Box, _script: str) -> None:
        if refused:
            raise MachineError("desk1: cannot log in")

    monkeypatch.setattr(remote, "execute", execute)
    failed = ProvisionError("layer 1: users: Do a: failed", details="E: no space")
    if not refused:
        apply_many.blame_login(box, failed)
        return
    with pytest.raises(MachineError, match="cannot log in") as caught:
        apply_many.blame_login(box, failed)
    assert caught.value.details == "layer 1: users: Do a: failed\nE: no space"


def test_all_well_is_success(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("apply", "--all", "--exclude", "desk2", "--plain") == 0
    assert run("drift", "desk1", "desk1*", "--plain") == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("layer 1: no drift")


def test_drift_is_told_by_host_and_a_failure_comes_first(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("drift", "desk1", "desk3", "--plain") == DriftError.exit_code
    told = capsys.readouterr().err
    assert "1 of 2 hosts differ from what they claim: desk3" in told
    assert "desk3: layer 1: gone" in told
    assert "cube apply desk3" in told
    assert run("drift", "--all", "--plain") == HostsError.exit_code


@pytest.mark.parametrize(("word", "wanted"), [("90 s", 90), ("30 min", 1800), ("2h", 7200)])
def test_a_time_has_a_unit(word: str, wanted: float) -> None:
    assert apply_many.seconds(word) == wanted


def test_a_restart_that_is_due_is_in_the_line() -> None:
    outcomes = [
        Outcome(layer=1, operations=3, checks="5 passed", restart="new kernel"),
        Outcome(layer=2, skipped="no GPU"),
    ]
    assert apply_many.applied_line(outcomes) == (
        "layer 1: nothing changed, checks: 5 passed; layer 2: skipped; needs a restart: new kernel"
    )


def test_plain_lines_leave_out_what_a_host_of_many_does_now(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.showing("plain"):
        for kind, changed in (("status", True), ("operation", False), ("operation", True)):
            data = {"host": "desk1", "changed": changed}
            log.tell(Event(kind=kind, text=f"desk1: {kind} {changed}", data=data))  # type: ignore[arg-type]
    assert capsys.readouterr().err == "changed desk1: operation True (0.0 s)\n"
