"""The README's commands against a machine that is up."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cube.runtime.errors import ChainError
from tests.integration.conftest import PROJECT, Built

BIN = Path(sys.executable).parent


def cube(built: Built, *words: str) -> "subprocess.CompletedProcess[str]":
    command, *rest = words
    return call([BIN / "cube", command, "--spec", built.spec.file, *rest], built)


def call(argv: Sequence[object], built: Built) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in argv],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        timeout=300,
        env={**os.environ, "CUBE_SPEC": str(built.spec.file)},
    )


@pytest.fixture(scope="module")
def machine(built: Built) -> Iterator[None]:
    """The last layer's disk, up."""
    done = cube(built, "up")
    assert done.returncode == 0, done.stderr
    assert f"{built.store.named('layer5').folder.name} is up as a" in done.stderr
    yield
    done = cube(built, "down")
    assert done.returncode == 0, done.stderr
    assert not list(built.work.machines.glob("up*/machine.json"))
    assert not list(built.work.machines.glob("up.*"))


def test_ssh_runs_a_command_and_passes_its_exit_code(machine: None, built: Built) -> None:
    done = cube(built, "ssh", "--", "id -un; exit 7")
    assert done.stdout == "cube-build\n"
    assert done.returncode == 7


def test_a_second_machine_is_refused(machine: None, built: Built) -> None:
    done = cube(built, "up")
    assert done.returncode == 1
    assert "up already" in done.stderr


def test_a_link_that_is_not_there_is_told(built: Built) -> None:
    done = cube(built, "up", "--at", "layer3")
    assert done.returncode == ChainError.exit_code
    assert "layer3 has no disk, it was skipped: no NVIDIA GPU" in done.stderr
    assert "links: base, layer1, layer5" in done.stderr


@pytest.mark.parametrize("options", [["--dry"], ["--dry", "--diff"]])
def test_pyinfra_says_what_a_layer_would_change(
    machine: None, built: Built, options: list[str]
) -> None:
    done = call([BIN / "pyinfra", *options, "inventory.py", "deploy/layer5.py"], built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Connected" in done.stdout + done.stderr


def test_pyinfra_applies_a_single_role(machine: None, built: Built) -> None:
    role = "deploy.roles.users.users"
    done = call([BIN / "pyinfra", "-y", "inventory.py", role], built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Let the administrator use sudo" in done.stdout + done.stderr


def test_pytest_judges_the_machine_that_is_up(machine: None, built: Built) -> None:
    argv = [BIN / "pytest", "checks/", "-m", "layer5", "-k", "health", "--spec", built.spec.file]
    done = call(argv, built)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
