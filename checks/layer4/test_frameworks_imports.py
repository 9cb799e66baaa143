"""The frameworks start, are what they should be, and were built for the GPUs."""

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.backend.base import CommandResult

from cube.config import Spec
from cube.stack import table
from cube.stack.profile import Framework

Facts = Callable[[str, str], Any]
Try = Callable[[str, str], CommandResult]

#: What is imported of a framework that has another name.
MODULES = {"pytorch": "torch"}
#: The square of a matrix of three rows, 0 to 8: its diagonal adds up to 180.
CALCULATIONS = {
    "numpy": "import numpy as n; a = n.arange(9.0).reshape(3, 3); assert (a @ a).trace() == 180",
    "pytorch": "import torch as t; a = t.arange(9.0).reshape(3, 3); assert (a @ a).trace() == 180",
    "tensorflow": (
        "import tensorflow as t; a = t.reshape(t.range(9.0), (3, 3));"
        " assert t.linalg.trace(a @ a) == 180"
    ),
}
VERSION = """
import json, {module}
print(json.dumps({module}.__version__))
"""
#: get_arch_list() is empty where there is no GPU; the flags of the build are always there.
#: Source: torch/cuda/__init__.py, get_arch_list.
TORCH = """
import json, torch
print(json.dumps({
    "cuda": torch.version.cuda, "gpus": torch.cuda.device_count(),
    "built for": torch._C._cuda_getArchFlags().split(),
}))
"""


def module(framework: str) -> str:
    """Return what is imported."""
    return MODULES.get(framework, framework)


def test_framework_starts(facts: Facts, frameworks: dict[str, Framework], framework: str) -> None:
    version = facts(framework, VERSION.format(module=module(framework)))
    assert version.split("+")[0] == frameworks[framework].version


def test_framework_calculates(attempt: Try, framework: str) -> None:
    done = attempt(framework, CALCULATIONS.get(framework, CALCULATIONS["numpy"]))
    assert done.rc == 0, done.stderr


def test_torch_is_built_for_the_cuda_of_the_profile(
    facts: Facts, frameworks: dict[str, Framework], torch_framework: str
) -> None:
    assert facts(torch_framework, TORCH)["cuda"] == frameworks[torch_framework].cuda


def test_torch_has_code_for_the_gpu(facts: Facts, spec: Spec, torch_framework: str) -> None:
    # Code for 8.6 runs on 8.9. Source: CUDA C++ Programming Guide, "Binary Compatibility".
    target = int(table.load().gpu[spec.gpu.model].sm)
    built = [int(word[3:]) for word in facts(torch_framework, TORCH)["built for"]]
    assert [sm for sm in built if sm // 10 == target // 10 and sm <= target], built


@pytest.mark.needs("gpu")
def test_torch_sees_every_gpu(facts: Facts, spec: Spec, torch_framework: str) -> None:
    assert facts(torch_framework, TORCH)["gpus"] == spec.gpu.count
