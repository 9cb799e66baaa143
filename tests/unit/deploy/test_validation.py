"""Role validation: its data and its files. Its commands are in tests/golden/layer5-*.txt."""

import configparser
import json

from deploy.roles.validation import PROGRAMS, UNIT_FILES, Validation, render_expectations
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
    units = {path.name for path in (ROOT / "files/validation").iterdir()}
    assert units == {path.rpartition("/")[2] for path in UNIT_FILES}


def test_the_names_are_those_that_people_were_promised() -> None:
    names = {f"health-check-layer{number}.sh" for number in range(1, 6)}
    names |= {"validate-gpus.sh", "cube-health", "test-docker-gpu.sh"}
    names |= {f"test-{name}.py" for name in ("pytorch-ddp", "tensorflow-gpu", "vllm-inference")}
    assert names == PROGRAMS.keys()


def test_the_service_runs_what_is_installed() -> None:
    command = unit("cube-health.service")["Service"]["ExecStart"]
    assert command.split()[0].rpartition("/") == ("/usr/local/bin", "/", "cube-health")


def test_the_timer_runs_at_boot_and_every_quarter_of_an_hour() -> None:
    timer = unit("cube-health.timer")
    assert timer["Timer"]["OnBootSec"] == "5min"
    assert timer["Timer"]["OnUnitActiveSec"] == "15min"
    assert timer["Install"]["WantedBy"] == "timers.target"
