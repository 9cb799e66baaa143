"""The environment of a framework on this box, and the GPUs that the framework should see."""

import os
import shutil
from pathlib import Path
from typing import Any

from guest.checking.pci import nvidia_gpus
from guest.checking.state import ROOT, is_simulated
from guest.gpus.machine import find_machine
from guest.gpus.system import read_expectations
from guest.suites.processes import Worker
from guest.suites.report import CannotRun, NotRun, Report

#: Seconds until a framework has been imported and has told what it sees.
PROBE_LIMIT_S = 300.0


def find_python(name: str, given: str | None) -> str:
    """Return the interpreter of a framework's environment.

    Raises:
        NotRun: the environment is not on this box.
        CannotRun: it is not whole, or what was given cannot be run.
    """
    if given:
        if not shutil.which(given):
            raise CannotRun(f"--python {given} cannot be run: name an interpreter that has {name}")
        return str(Path(shutil.which(given) or given).absolute())
    venv = ROOT / "opt/cube/venvs" / name
    if not venv.is_dir():
        raise NotRun(f"there is no environment {name} on this box ({venv}): layer 4 makes it")
    if not (venv / "requirements.txt").is_file() or not os.access(venv / "bin/python", os.X_OK):
        raise CannotRun(f"the environment {venv} is not whole: apply layer 4 again")
    return str(venv / "bin/python")


def probe(report: Report, worker: Worker, title: str, limit_s: float = PROBE_LIMIT_S) -> Any:
    """Import a framework and return what it sees; its versions go into the report.

    Args:
        report: the check "environment" is added to it.
        worker: which answers "probe" with "versions"; that of `title` comes first.
        title: "torch".
        limit_s: seconds.

    Raises:
        CannotRun: it cannot be imported.
    """
    seen = worker.run({"act": "probe"}, limit_s)
    if seen.code != 0 or "versions" not in seen.result:
        raise CannotRun(f"{title} cannot be used with {worker.python}: {seen.fault}")
    versions = seen.result["versions"]
    report.record("environment", good=True, detail=f"{title} {versions[title.lower()]}")
    report.versions |= {name: text for name, text in versions.items() if text}
    return seen.result


def gpus_on_bus() -> int:
    """Count NVIDIA's display controllers on the PCI bus."""
    return len(nvidia_gpus(ROOT))


def check_devices(report: Report, who: str, seen: int, *, note: str = "") -> None:
    """Check how many GPUs a framework sees; one that is there must not be passed over.

    Raises:
        Stop: it sees another number than this box should have.
    """
    on_bus = gpus_on_bus()
    expected = expected_gpus(on_bus)
    detail = f"{who} sees {seen} GPUs, expected {expected}, on the bus {on_bus}{note}"
    report.require("devices", good=seen == expected, detail=detail)


def expected_gpus(on_bus: int) -> int:
    """Return how many GPUs the box should have: what layer 5 wrote down, else what is there."""
    try:
        return read_expectations(find_machine()).count
    except ValueError:
        return on_bus


def evidence(gpus: int) -> str:
    """Return what the work of a suite runs on."""
    return "simulated" if is_simulated() else "hardware" if gpus else "cpu"
