"""cube-python, the way into the frameworks' environments, over a simulated machine."""

import shutil
from pathlib import Path

import pytest

from cube.runtime.run import Completed, run

from .conftest import PROJECT, Box

SCRIPT = PROJECT / "deploy/files/frameworks/cube-python"
LOCK = """\
# Made by: cube stack lock cube --framework pytorch
numpy==2.4.6 \\
    --hash=sha256:00
torch==2.13.0 ; python_version >= "3.12" \\
    --hash=sha256:01
torchvision==0.28.0 \\
    --hash=sha256:02
tensorflow[and-cuda]==2.21.0 \\
    --hash=sha256:03
"""
#: Says what it was given, and ends as it is told.
PYTHON = '#!/bin/sh\necho "$VIRTUAL_ENV ${PATH%%:*} $*"; exit "${CODE:-0}"\n'


@pytest.fixture
def venvs(box: Box) -> Box:
    """One environment that is whole and one that is not."""
    for program in ("python", "torchrun"):
        box.write(f"opt/cube/venvs/pytorch/bin/{program}", PYTHON).chmod(0o755)
    box.write("opt/cube/venvs/pytorch/pyvenv.cfg", "home = /usr/bin\nversion_info = 3.13.5\n")
    box.write("opt/cube/venvs/pytorch/requirements.txt", LOCK)
    box.write("opt/cube/venvs/vllm/bin/python", PYTHON).chmod(0o755)
    return box


def start(box: Box, *arguments: str, **more: str) -> Completed:
    argv: list[str | Path] = ["sh", SCRIPT, *arguments]
    return run(argv, accept=range(256), env={"CUBE_ROOT": str(box.root), **more})


def test_environments_are_listed_with_their_versions(venvs: Box) -> None:
    done = start(venvs)
    assert done.returncode == 0
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "pytorch Python 3.13.5 torch 2.13.0, tensorflow 2.21.0, numpy 2.4.6",
        "vllm NOT WHOLE: apply layer 4 again",
    ]


def test_a_box_without_environments_says_so(box: Box) -> None:
    done = start(box)
    assert done.returncode == 127
    assert "is layer 4 applied?" in done.stderr


def test_arguments_and_exit_code_pass(venvs: Box) -> None:
    done = start(venvs, "pytorch", "train.py", "--name", "a b", CODE="7")
    venv = venvs.root / "opt/cube/venvs/pytorch"
    assert done.returncode == 7
    assert done.stdout == f"{venv} {venv}/bin train.py --name a b\n"


def test_another_program_of_the_environment_runs(venvs: Box) -> None:
    done = start(venvs, "pytorch", "--", "torchrun", "--nproc-per-node", "4")
    assert done.stdout.endswith("/bin --nproc-per-node 4\n")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("jax",), 127, "there is no environment jax; there is: pytorch vllm"),
        (("vllm", "-c", "pass"), 126, "vllm is not whole: apply layer 4 again"),
        (("pytorch", "--", "nvcc"), 127, "the environment pytorch has no program nvcc"),
        (("pytorch", "--"), 2, "name a program after --"),
        (("--version",), 2, "name an environment first"),
        (("../venvs/pytorch",), 2, "name an environment first"),
    ],
)
def test_what_cannot_be_is_told(
    venvs: Box, arguments: tuple[str, ...], code: int, text: str
) -> None:
    done = start(venvs, *arguments)
    assert done.returncode == code
    assert text in done.stderr


def test_help_is_printed(venvs: Box) -> None:
    done = start(venvs, "--help")
    assert (done.returncode, done.stdout.split()[0]) == (0, "Usage:")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    run(["shellcheck", SCRIPT])
