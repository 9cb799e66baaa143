"""A fake box: a root folder with state files, and a PATH on which fakes come first.

The scripts run for real, under the real shell; what they see of the machine is simulated, and
they say so.
"""

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cube.runtime.run import Completed, run
from deploy.operations.programs import launcher
from deploy.roles import monitoring, validation
from deploy.runner.sources import GUEST, ON_HOST

PROJECT = Path(__file__).parents[3]
MONITORING = PROJECT / "deploy/files/monitoring"

#: Programs of the box that launchers start, by the modules that they start.
PROGRAMS = {**monitoring.PROGRAMS, **validation.PROGRAMS}
FAKES = Path(__file__).parent / "fakes"

ROLES = {
    1: ["common", "users", "security", "docker", "python"],
    2: ["nvidia_driver", "cuda"],
    3: ["gpu_runtime"],
    4: ["frameworks"],
    5: ["monitoring", "validation"],
}


@dataclass(frozen=True, kw_only=True)
class Box:
    """A machine in a folder."""

    root: Path
    bin: Path

    def write(self, path: str, text: str) -> Path:
        """Write a file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def write_json(self, path: str, data: object) -> Path:
        """Write a state file in the form that the roles write."""
        return self.write(path, json.dumps(data, indent=2) + "\n")

    def install(self, *layers: int, without: tuple[str, ...] = ()) -> None:
        """Record layers, with all of their roles but some."""
        entries = {
            str(n): {
                "applied": "2026-01-31T12:00:00Z",
                "recipe": "0123456789abcdef",
                "roles": [role for role in ROLES[n] if role not in without],
            }
            for n in layers
        }
        self.write_json("var/lib/cube/layers.json", {"layers": entries})

    def expect(self, *, gpu_count: int = 4, gpu_memory_mib: int = 32000) -> None:
        """Write the expectations."""
        self.write_json(
            "etc/cube/expectations.json",
            {"admin_user": "cube", "gpu_count": gpu_count, "gpu_memory_mib": gpu_memory_mib},
        )

    def plug_gpus(self, count: int) -> None:
        """Put NVIDIA display controllers on the PCI bus, and one of their audio devices."""
        for index in range(count):
            self.write(f"sys/bus/pci/devices/0000:0{index}:00.0/vendor", "0x10de\n")
            self.write(f"sys/bus/pci/devices/0000:0{index}:00.0/class", "0x030000\n")
        self.write("sys/bus/pci/devices/0000:00:00.1/vendor", "0x10de\n")
        self.write("sys/bus/pci/devices/0000:00:00.1/class", "0x040300\n")

    def fake(self, name: str, output: str = "", *, code: int = 0) -> None:
        """Put a program on PATH that prints this and ends with this code."""
        self.fake_script(name, f"printf '%s\\n' {shlex.quote(output)}; exit {code}")

    def fake_script(self, name: str, script: str) -> None:
        """Put a shell script on PATH."""
        file = self.bin / name
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables that make a program see this box."""
        path = f"{self.bin}:{FAKES}:{os.environ['PATH']}"
        return {
            "CUBE_ROOT": str(self.root),
            "PATH": path,
            **more,
        }

    def run(self, program: str, *arguments: str, **more: str) -> Completed:
        """Run one of the box's programs; any exit code is fine."""
        return run(
            [*interpreter(program), *arguments],
            accept=range(256),
            env=self.environment(**more),
            timeout_s=60,
        )

    def judge(self, script: str, **more: str) -> tuple[int, dict[str, Any]]:
        """Run a check with --json; return its exit code and its object."""
        done = self.run(script, "--json", **more)
        return done.returncode, told(done)


def told(done: Completed) -> dict[str, Any]:
    """Return the object that a program printed; what else it said is the error of a test."""
    assert done.stdout, f"exit code {done.returncode} and nothing said: {done.stderr}"
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def launcher_text(program: str) -> str:
    """Return a launcher of the box that starts the modules of this checkout."""
    return launcher(program, PROGRAMS[program]).replace(ON_HOST, str(GUEST))


def interpreter(program: str) -> list[str | Path]:
    """Return how a program of the box is started from its source."""
    if program in PROGRAMS:
        text = launcher_text(program)
        if program.endswith(".py"):
            return ["/usr/bin/python3", "-IB", "-c", text]
        text = text.replace("/usr/bin/python3", sys.executable)  # it has rich and psutil
        return ["/bin/sh", "-c", text, program]
    source = {
        "60-cube": MONITORING / "60-cube",
        "cube-secure-boot": GUEST / "cube_secure_boot.py",
    }[program]
    return [sys.executable, source] if source.suffix == ".py" else ["sh", source]


def statuses(data: dict[str, Any]) -> dict[str, str]:
    """Return the status of each check by name."""
    return {item["name"]: item["status"] for item in data["checks"]}


def failed(data: dict[str, Any]) -> list[str]:
    """Return the names of the checks that failed."""
    return [name for name, status in statuses(data).items() if status == "FAIL"]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A box that has been up for an hour and knows nothing else."""
    fakes = tmp_path / "bin"
    fakes.mkdir()
    box = Box(root=tmp_path / "root", bin=fakes)
    box.fake("ps", "   3600")
    box.write("proc/modules", "ext4 1122304 1 - Live 0x0\n")
    box.expect()
    return box
