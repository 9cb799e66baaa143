"""What the tests of the suites have in common."""

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

from cube.runtime.run import Completed

from .conftest import FAKES, VALIDATION, Box, told

SOURCES = {
    "pytorch": "test-pytorch-ddp.py",
    "tensorflow": "test-tensorflow-gpu.py",
    "vllm": "test-vllm-inference.py",
    "docker": "test_docker_gpu.py",
}
#: How a person starts them.
PROGRAMS = SOURCES | {"docker": "test-docker-gpu.sh"}
FRAMEWORKS = ("pytorch", "tensorflow", "vllm")


def load(suite: str) -> ModuleType:
    """Import a suite's source, whose name is no module's."""
    name = f"suite_{suite}"
    spec = importlib.util.spec_from_file_location(name, VALIDATION / SOURCES[suite])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


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
