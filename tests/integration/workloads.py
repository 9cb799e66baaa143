"""Environments for the suites' workloads, and how a suite is run on this machine's processor."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.conftest import PROJECT

SUITES = PROJECT / "deploy/files/validation"
PINS = PROJECT / "tests/integration/profiles/workloads"
#: Seconds for any suite; the quick form of vLLM took 110.
LIMIT_S = 1500


@dataclass(frozen=True)
class Environments:
    """Virtual environments in a folder, made by uv from a list of pins."""

    folder: Path

    def python(self, name: str) -> Path:
        """Return the interpreter of an environment, which is made on its first use."""
        venv = self.folder / name
        if not venv.exists():
            uv = self.uv()
            self.run(uv, "venv", "--quiet", "--python", sys.executable, venv)
            pins = PINS / f"{name}.txt"
            self.run(uv, "pip", "install", "--quiet", "--no-deps", "--python", venv, "-r", pins)
        return venv / "bin/python"

    def uv(self) -> Path:
        """Return uv, which is fetched on its first use."""
        tool = self.folder / "uv"
        if not tool.exists():
            self.run(sys.executable, "-m", "venv", tool)
            self.run(tool / "bin/pip", "install", "--quiet", "uv")
        return tool / "bin/uv"

    def run(self, *argv: str | Path) -> None:
        """Run a program; torch's build for processors comes from where pip is told to look."""
        found = (
            {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]}
            if "PIP_FIND_LINKS" in os.environ
            else {}
        )
        done = subprocess.run(
            argv, env=os.environ | {"UV_CACHE_DIR": str(self.folder / "cache")} | found,
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        hint = "torch's build for processors: UV_FIND_LINKS or UV_INDEX must offer it"
        assert done.returncode == 0, f"{' '.join(map(str, argv))}:\n{done.stderr}\n{hint}"


@dataclass(frozen=True)
class Told:
    """What a suite printed."""

    code: int
    data: dict[str, Any]
    progress: str

    def details(self, status: str) -> dict[str, str]:
        """Return what the checks with a status say, by name."""
        return {
            row["name"]: row["detail"] for row in self.data["checks"] if row["status"] == status
        }


def environment(**more: str) -> dict[str, str]:
    """Return variables for a suite: byte code is kept, as it is on a box."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | more


def run_suite(source: str, python: Path, *arguments: str, **more: str) -> Told:
    """Run a suite with an interpreter."""
    argv: list[str | Path] = [
        sys.executable,
        "-I",
        SUITES / source,
        "--json",
        "--python",
        python,
        *arguments,
    ]
    done = subprocess.run(
        argv, env=environment(**more), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.stdout, done.stderr
    return Told(done.returncode, json.loads(done.stdout), done.stderr)
