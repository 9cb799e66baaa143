"""What the tests of the suites have in common."""

import importlib
import json
from typing import Any

from cube.runtime.run import Completed
from tests.unit.guest.conftest import FAKES, Box, told

#: How a person starts each suite.
PROGRAMS = {
    "pytorch": "test-pytorch-ddp.py",
    "tensorflow": "test-tensorflow-gpu.py",
    "vllm": "test-vllm-inference.py",
    "docker": "test-docker-gpu.sh",
}
FRAMEWORKS = ("pytorch", "tensorflow", "vllm")


def names(suite: str) -> tuple[str, ...]:
    """Return the checks of a suite."""
    found: tuple[str, ...] = importlib.import_module(f"guest.suites.{suite}.program").NAMES
    return found


def judge(
    box: Box, suite: str, results: dict[str, Any], *arguments: str, **more: str
) -> tuple[int, dict[str, Any]]:
    """Run a suite of a framework that answers as told; return exit code and object."""
    done = start(box, suite, results, "--json", *arguments, **more)
    return done.returncode, told(done)


def start(box: Box, suite: str, results: dict[str, Any], *arguments: str, **more: str) -> Completed:
    fake = str(FAKES / "framework")
    told = {"FAKE_RESULTS": json.dumps(results), **more}
    return box.run(PROGRAMS[suite], "--python", fake, *arguments, **told)


def detail(data: dict[str, Any], name: str) -> str:
    """Return what a check says."""
    (text,) = [item["detail"] for item in data["checks"] if item["name"] == name]
    return str(text)
