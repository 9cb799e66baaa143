"""Programs of guest/ on a host: launchers, and what their modules need."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from deploy.operations.programs import LAUNCHER, launcher, package_files
from deploy.roles import monitoring, validation
from deploy.runner.sources import GUEST, ON_HOST, Programs

INSTALLED = {
    name: (words, package_files(*places))
    for programs, places in (
        (monitoring.PROGRAMS, (monitoring.DASHBOARD,)),
        (validation.PROGRAMS, validation.PLACES),
    )
    for name, words in programs.items()
}
#: What a room may import beside itself; the rest of the names is of no standard library.
MAY_IMPORT: dict[str, set[str]] = {
    "checking": set(),
    "gpus": {"checking"},
    "health": {"checking", "gpus"},
    "cube_top": {"checking", "gpus", "psutil", "rich"},
    "suites": {"checking", "gpus"},
}
#: What a suite's worker imports, in functions, where it is: in a framework's environment.
FRAMEWORKS = {
    "huggingface_hub", "numpy", "tensorflow", "tokenizers", "torch", "transformers", "vllm",
}  # fmt: skip


@pytest.mark.parametrize("name", INSTALLED)
def test_a_launcher_starts_a_module_that_is_installed(name: str) -> None:
    words, files = INSTALLED[name]
    module = words.split(maxsplit=1)[0].replace(".", "/")
    assert "def main() -> int:" in files[f"{ON_HOST}/{module}.py"]
    assert f"{ON_HOST}/__main__.py" in files


@pytest.mark.parametrize("name", INSTALLED)
def test_a_program_has_every_module_that_it_imports(name: str) -> None:
    _, files = INSTALLED[name]
    for path, text in files.items():
        for module in imported(ast.parse(text)):
            if module.startswith("guest."):
                place = f"{ON_HOST}/{module.removeprefix('guest.').replace('.', '/')}"
                found = {f"{place}.py", f"{place}/__init__.py", f"{place.rpartition('/')[0]}.py"}
                assert found & files.keys(), (path, module)


def test_launchers_start_the_distributions_python_alone() -> None:
    assert LAUNCHER.splitlines() == [
        "#!/bin/sh",
        f'exec /usr/bin/python3 -IB {ON_HOST} %s "$@"',
    ]
    assert launcher("test.py", "a.b").splitlines()[0] == "#!/usr/bin/python3 -IB"


def test_a_program_that_is_named_as_python_is_python() -> None:
    text = launcher("test.py", "suites.docker.program").replace(ON_HOST, str(GUEST))
    done = subprocess.run(
        ["/usr/bin/python3", "-IB", "-", "--help"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage: test-docker-gpu.sh")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("name", [name for name in INSTALLED if not name.endswith(".py")])
def test_shellcheck_finds_nothing_in_a_launcher(name: str) -> None:
    text = launcher(name, INSTALLED[name][0])
    subprocess.run(["shellcheck", "-"], input=text, text=True, check=True)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_of_the_box_needs_nothing_but_what_it_may(room: str) -> None:
    for path, text in Programs(room).modules().items():
        tree = ast.parse(text)
        for name in imported(tree):
            top, _, rest = name.partition(".")
            own = rest.split(".")[0] if top == "guest" else top
            known = own in {room, *MAY_IMPORT[room]} or top in sys.stdlib_module_names
            assert known or (room == "suites" and top in FRAMEWORKS), (path, name)
        for name in imported(ast.Module(body=tree.body, type_ignores=[]), deep=False):
            assert name.partition(".")[0] not in FRAMEWORKS, (path, name)


def imported(tree: ast.Module, *, deep: bool = True) -> Iterator[str]:
    """Yield what a module imports; `deep` also within functions."""
    for node in ast.walk(tree) if deep else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
