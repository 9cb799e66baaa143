"""Role validation: its data and its files. Its commands are in tests/golden/layer5-*.txt."""

import configparser
import json

import pytest

from deploy.roles.validation import (
    LIBRARY,
    MODULES,
    PROGRAMS,
    ROOMS,
    UNIT_FILES,
    Validation,
    program_text,
    render_expectations,
)
from deploy.runner.data import build
from deploy.runner.sources import ROOT, file_text


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
    sources = [path.name for room in ROOMS for path in room.path.iterdir() if path.is_file()]
    installed = [*PROGRAMS.values(), *MODULES.values(), LIBRARY.rpartition("/")[2]]
    assert sorted(sources) == sorted(installed)
    units = {path.name for path in (ROOT / "files/validation").iterdir()}
    assert units == {path.rpartition("/")[2] for path in UNIT_FILES}


def test_the_names_are_those_that_people_were_promised() -> None:
    for number in range(1, 6):
        assert f"/usr/local/bin/health-check-layer{number}.sh" in PROGRAMS
    assert "/usr/local/bin/validate-gpus.sh" in PROGRAMS


@pytest.mark.parametrize("source", sorted(PROGRAMS.values()))
def test_programs_name_the_system_s_own_interpreter(source: str) -> None:
    first = program_text(source).splitlines()[0]
    assert first in {"#!/bin/bash", "#!/usr/bin/python3 -I", "#!/usr/bin/python3 -IB"}


def test_the_service_runs_what_is_installed() -> None:
    command = unit("cube-health.service")["Service"]["ExecStart"]
    assert command.split()[0] in PROGRAMS


def test_the_timer_runs_at_boot_and_every_quarter_of_an_hour() -> None:
    timer = unit("cube-health.timer")
    assert timer["Timer"]["OnBootSec"] == "5min"
    assert timer["Timer"]["OnUnitActiveSec"] == "15min"
    assert timer["Install"]["WantedBy"] == "timers.target"
