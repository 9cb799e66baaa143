"""Environments for the suites' workloads, and how a suite is run on this machine's processor."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.roles.validation import PROGRAMS

PROJECT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
GUEST = PROJECT / "guest"
PINS = PROJECT / "tests/integration/profiles/workloads"
#: Seconds for any suite; the quick form of vLLM took 110.
LIMIT_S = 1500


@dataclass(frozen=True)
class Environments:
    """Virtual environments in a folder, made by uv from a list of pins."""

    folder: Path

    def python(self, name: str) -> Path:
        """Return the interpreter of an environment, which is made on its first use.

        The test is skipped where no index has torch's build for processors, which PyPI has not.
        """
        venv = self.folder / name
        if not venv.exists():
            self.run("venv", "--quiet", "--python", sys.executable, venv).check_returncode()
            pins = PINS / f"{name}.txt"
            made = self.run(
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--compile-bytecode",
                "--python",
                venv,
                "-r",
                pins,
            )
            if made.returncode:
                shutil.rmtree(venv)
            if "torch==" in made.stderr and "no version" in made.stderr:
                pytest.skip(f"offer torch's build for processors by UV_FIND_LINKS: {made.stderr}")
            assert made.returncode == 0, made.stderr
        return venv / "bin/python"

    def bring(self, root: Path) -> None:
        """Copy all environments to where layer 4 makes them on a box, and the Python they need.

        PyTorch's is vLLM's, which has torch's build for processors: the files are shared by
        hardlinks, as layer 4 shares them. That build is there for this machine's Python alone,
        so the box gets it beside its own.
        """
        venvs = root / "opt/cube/venvs"
        venvs.mkdir(parents=True, exist_ok=True)
        for name in ("vllm", "tensorflow"):
            self.python(name)
            copy(self.folder / name, venvs / name)
            shutil.copy(PINS / f"{name}.txt", venvs / name / "requirements.txt")  # it is whole
        copy(venvs / "vllm", venvs / "pytorch", "--link")
        python, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
        for path in (python, library):
            if not (root / path.relative_to("/")).exists():
                copy(path, root / path.relative_to("/"))

    def run(self, *argv: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run uv; it looks where pip is told to look."""
        links = {"UV_FIND_LINKS": found} if (found := find_links()) else {}
        return subprocess.run(
            [UV, *argv],
            env=os.environ | {"UV_CACHE_DIR": str(self.folder / "cache")} | links,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


def copy(source: Path, target: Path, *options: str) -> None:
    """Copy a file or a folder as it is, its hardlinks too."""
    argv: list[str | Path] = ["cp", "--archive", "--no-target-directory", *options, source, target]
    subprocess.run(argv, check=True, timeout=LIMIT_S)


def find_links() -> str:
    """Return where pip looks beside its index, by its environment or its configuration."""
    argv = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return os.environ.get("PIP_FIND_LINKS") or ",".join(done.stdout.split())


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


def suite_argv(program: str, python: Path, *arguments: str) -> list[str | Path]:
    """Return how a suite of this checkout is started for an interpreter."""
    return [sys.executable, "-IB", GUEST, PROGRAMS[program], "--python", python, *arguments]


def run_suite(program: str, python: Path, *arguments: str, **more: str) -> Told:
    """Run a suite with an interpreter."""
    done = subprocess.run(
        suite_argv(program, python, "--json", *arguments),
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stdout, done.stderr
    return Told(done.returncode, json.loads(done.stdout), done.stderr)
