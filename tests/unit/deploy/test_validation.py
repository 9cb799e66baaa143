"""Role validation: its data and its files. Its commands are in tests/golden/layer5-*.txt."""

import ast
import configparser
import json
import sys

import pytest

from deploy.roles.validation import (
    LAUNCHER,
    LAUNCHERS,
    MODULES,
    PROGRAMS,
    SUITE_PROGRAMS,
    UNIT_FILES,
    Validation,
    package_files,
    render_expectations,
)
from deploy.runner.data import build
from deploy.runner.sources import ON_HOST, ROOT, Programs, file_text


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(file_text(f"validation/{name}"))
    return parser


def test_expectations_are_those_of_the_specification() -> None:
    values = {
        "admin_user": "ada",
        "gpu_model": "rtx-5090",
        "gpu_count": 4,
        "gpu_memory_mib": 32000,
    }
    assert json.loads(render_expectations(build(Validation, values))) == values


def test_every_file_is_installed() -> None:
    sources = {path.name for path in SUITE_PROGRAMS.path.iterdir() if path.is_file()}
    assert sources == {*PROGRAMS.values(), *MODULES.values()}
    units = {path.name for path in (ROOT / "files/validation").iterdir()}
    assert units == {path.rpartition("/")[2] for path in UNIT_FILES}


def test_the_names_are_those_that_people_were_promised() -> None:
    names = {f"health-check-layer{number}.sh" for number in range(1, 6)}
    assert names | {"validate-gpus.sh", "cube-health"} == LAUNCHERS.keys()


@pytest.mark.parametrize("words", LAUNCHERS.values())
def test_a_launcher_starts_a_module_that_is_installed(words: str) -> None:
    module = words.split(maxsplit=1)[0].replace(".", "/")
    installed = package_files()
    assert "def main() -> int:" in installed[f"{ON_HOST}/{module}.py"]
    assert f"{ON_HOST}/__main__.py" in installed


def test_launchers_start_the_distributions_python_alone() -> None:
    """-I: no variable, no folder of a user's; -B: nothing is written beside the modules."""
    assert LAUNCHER.splitlines() == [
        "#!/bin/sh",
        f'exec /usr/bin/python3 -IB {ON_HOST} %s "$@"',
    ]


@pytest.mark.parametrize("room", ["checking", "health", "gpus"])
def test_a_room_of_the_box_needs_nothing_but_itself(room: str) -> None:
    """The standard library, what the checks have in common, and its own modules."""
    for path, text in Programs(room).modules().items():
        for node in ast.walk(ast.parse(text)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                top, _, rest = name.partition(".")
                assert top == "guest" or top in sys.stdlib_module_names, (path, name)
                own = rest.split(".")[0]
                assert top != "guest" or own in {room, "checking"}, (path, name)


@pytest.mark.parametrize("source", sorted(PROGRAMS.values()))
def test_programs_name_the_system_s_own_interpreter(source: str) -> None:
    first = SUITE_PROGRAMS.text(source).splitlines()[0]
    assert first in {"#!/bin/bash", "#!/usr/bin/python3 -I", "#!/usr/bin/python3 -IB"}


def test_the_service_runs_what_is_installed() -> None:
    command = unit("cube-health.service")["Service"]["ExecStart"]
    assert command.split()[0].rpartition("/") == ("/usr/local/bin", "/", "cube-health")


def test_the_timer_runs_at_boot_and_every_quarter_of_an_hour() -> None:
    timer = unit("cube-health.timer")
    assert timer["Timer"]["OnBootSec"] == "5min"
    assert timer["Timer"]["OnUnitActiveSec"] == "15min"
    assert timer["Install"]["WantedBy"] == "timers.target"
