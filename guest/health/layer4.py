"""Layer 4: each framework starts in its own environment, /opt/cube/venvs/NAME."""

import os
import tempfile
from pathlib import Path

from guest.checking.program import ask, environment
from guest.checking.report import Report
from guest.checking.state import ROOT

#: Seconds: a cold import of a framework reads gigabytes.
LIMIT_S = float(os.environ.get("CUBE_LIMIT_S", "120"))
VENVS = ROOT / "opt/cube/venvs"
#: Starts an environment's Python by the environment's name.
LAUNCHER = "cube-python"
#: What is imported, where the environment has another name.
MODULES = {"pytorch": "torch"}


def check_frameworks(report: Report) -> None:
    """Check every environment."""
    environments = [folder for folder in sorted(VENVS.glob("*")) if folder.is_dir()]
    if not environments:
        report.fail("frameworks", f"no environment in {VENVS}: apply layer 4 again")
    for folder in environments:
        check_environment(report, folder)


def check_environment(report: Report, folder: Path) -> None:
    """Check an environment; its lock is the last file that is written to it."""
    if (folder / "requirements.txt").is_file():
        check_import(report, folder.name, MODULES.get(folder.name, folder.name))
    else:
        report.fail(f"{folder.name} starts", f"{folder} is not whole: apply layer 4 again")


def check_import(report: Report, name: str, module: str) -> None:
    """Import a framework, with a temporary home for the caches that an import leaves there."""
    code = f"import {module}; print('{module}', {module}.__version__)"
    with tempfile.TemporaryDirectory() as home:
        variables = {**environment(), "HOME": home}
        answer = ask(LAUNCHER, name, "-B", "-c", code, env=variables, limit_s=LIMIT_S)
    last = (answer.text.strip().splitlines() or [""])[-1]
    report.check_that(f"{name} starts", answer.code == 0, last, answer.explain())


ROLES = {"frameworks": check_frameworks}
