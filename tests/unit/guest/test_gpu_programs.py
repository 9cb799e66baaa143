"""What validate-gpus.sh does with programs that hang, die or lie, and how it is started."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cube.runtime.run import run
from guest.checking import program
from guest.gpus import machine as machines
from guest.gpus import nvidia_smi
from tests.processes import alive
from tests.simulated.box import ON_A_GUEST, SimulatedBox

from .conftest import PROJECT, interpreter
from .test_validate_gpus import LOAD, SCRIPT, judge

LIMIT_S = 20


@pytest.fixture
def healthy(tmp_path: Path) -> SimulatedBox:
    return SimulatedBox.make(tmp_path / "box")


def plant(box: SimulatedBox, program: str, **planted: object) -> None:
    """Change what a program of the box does."""
    state = json.loads((box.folder / "box.json").read_text())
    state["programs"][program] = planted
    box.write("box.json", json.dumps(state))


def wait_until(what: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(box: SimulatedBox, *arguments: str) -> "subprocess.Popen[str]":
    """Start the suite."""
    return subprocess.Popen(
        [*SCRIPT, *arguments],
        env=box.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_an_nvidia_smi_that_hangs_is_ended_and_named(healthy: SimulatedBox) -> None:
    plant(healthy, "nvidia-smi", hangs=True)
    verdict = judge(healthy, CUBE_LIMIT_S="2")  # others answer in time on a busy machine
    assert verdict.failed == {"driver answers"}
    detail = verdict.check("driver answers")["detail"]
    assert detail.startswith("nvidia-smi: no answer within 2 s: see journalctl -k")
    assert verdict.told["seconds"] < LIMIT_S


def test_one_that_hangs_under_load_fails_the_load(healthy: SimulatedBox) -> None:
    plant(healthy, "nvidia-smi", hangs=True, only_busy=True)
    verdict = judge(healthy, *LOAD, CUBE_LIMIT_S="1")
    assert verdict.failed == {"load"}
    assert "no answer within 1 s" in verdict.check("load")["detail"]


def test_a_missing_nvidia_smi_is_named(healthy: SimulatedBox) -> None:
    (healthy.folder / "bin/nvidia-smi").unlink()
    verdict = judge(healthy, PATH="/nowhere")
    assert verdict.check("driver answers")["detail"].startswith("nvidia-smi: not installed: ")


def test_children_of_a_program_that_hangs_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machines.Machine(state=tmp_path, hardware=tmp_path, simulated=True)
    mark = tmp_path / "child"
    (tmp_path / "bin").mkdir()
    forks = tmp_path / "bin/forks"
    forks.write_text(f"#!/bin/sh\nsleep 300 &\necho $! >{mark}\nwait\n")
    forks.chmod(0o755)
    monkeypatch.setattr(program, "LIMIT_S", 1.0)
    answer = machines.ask(machine, str(forks))
    assert answer.code == program.NO_ANSWER
    wait_until(lambda: not alive(int(mark.read_text())))


def test_a_load_that_does_not_start_is_ended_and_named(healthy: SimulatedBox) -> None:
    plant(healthy, "pytorch", hangs=True)
    verdict = judge(healthy, *LOAD, CUBE_LOAD_LIMIT_S="1")
    assert verdict.failed == {"load"}
    assert verdict.check("load")["detail"].startswith("the GPUs are not busy after 1 s")


def test_a_load_that_does_not_end_is_ended(healthy: SimulatedBox) -> None:
    plant(healthy, "pytorch while busy", hangs=True)
    verdict = judge(healthy, *LOAD, CUBE_LOAD_LIMIT_S="2")
    assert verdict.failed == set()
    assert not alive(int((healthy.folder / "run/busy").read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_load_ends_with_the_suite(healthy: SimulatedBox, number: signal.Signals) -> None:
    busy = healthy.folder / "run/busy"
    with start(healthy, "--load", "--seconds", "60") as suite:
        wait_until(lambda: busy.exists() and busy.read_text() != "")
        load = int(busy.read_text())
        suite.send_signal(number)
        suite.wait(timeout=LIMIT_S)
    wait_until(lambda: not alive(load))


def test_the_last_words_of_a_broken_pytorch_are_told(healthy: SimulatedBox) -> None:
    python = healthy.folder / "opt/cube/venvs/pytorch/bin/python"
    python.unlink()
    python.write_text("#!/bin/sh\necho 'ImportError: libcudart.so.13' >&2\nexit 1\n")
    python.chmod(0o755)
    assert "libcudart.so.13" in judge(healthy, *LOAD).check("load")["detail"]


def test_the_script_starts_it(healthy: SimulatedBox) -> None:
    done = run(interpreter("validate-gpus.sh"), env=healthy.environment(), timeout_s=60)
    lines = done.stdout.splitlines()
    assert lines[0] == "OK    GPUs on the PCI bus: 4"
    assert lines[-1] == "PASS gpus: 56 passed, 0 failed, 17 skipped (simulated)"
    assert not (PROJECT / "guest/gpus/__pycache__/validate.cpython-311.pyc").exists()


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--seconds", "1e9"], ["--lo"]])
def test_a_bad_argument_is_refused(healthy: SimulatedBox, arguments: list[str]) -> None:
    run(
        [*SCRIPT, *arguments],
        accept=[2],
        env=healthy.environment(),
        timeout_s=60,
    )


# --- evidence -----------------------------------------------------------------------------


def test_a_machine_without_marks_is_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBE_ROOT", raising=False)
    assert not machines.find_machine(tmp_path).simulated


def test_a_mark_of_a_stand_in_makes_it_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBE_ROOT", raising=False)
    mark = tmp_path / "usr/share/cube/stand-ins/driver"
    mark.parent.mkdir(parents=True)
    mark.touch()
    machine = machines.find_machine(tmp_path)
    assert machine.simulated
    assert machine.hardware == tmp_path


def test_a_simulated_box_on_a_guest_plays_its_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBE_ROOT", raising=False)
    box = SimulatedBox.make(tmp_path / ON_A_GUEST.lstrip("/"), "x8")
    machine = machines.find_machine(tmp_path)
    assert machine.simulated
    assert (machine.state, machine.hardware) == (tmp_path, box.folder)
    assert len(machines.read_bus(machine).gpus) == 4
    assert nvidia_smi.query(machine, ("index",))[3] == {"index": "3"}


def test_a_root_for_tests_is_simulated(healthy: SimulatedBox) -> None:
    environment = {**healthy.environment(), "CUBE_ROOT": str(healthy.folder) + os.sep}
    done = run([*SCRIPT, "--json"], env=environment, timeout_s=60)
    assert json.loads(done.stdout)["evidence"] == "simulated"
