"""test-tensorflow-gpu.py: what it makes of parts that go well and badly."""

import copy
from typing import Any

import pytest

from guest.suites.tensorflow.checks import has_code
from guest.suites.tensorflow.operations import OPERATIONS
from guest.suites.tensorflow.program import NAMES
from tests.unit.guest.conftest import Box, failed, statuses

from .running import detail, judge

CPUS = [f"/device:CPU:{n}" for n in range(4)]
GPUS = [f"/device:GPU:{n}" for n in range(4)]
HOPPER = ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"]


def results(devices: list[str], *, capability: tuple[int, int] | None = None) -> dict[str, Any]:
    gpus = [{"name": "G", "capability": capability} for _ in devices] if capability else []
    return {
        "probe": {
            "result": {
                "versions": {"tensorflow": "2.21.0"},
                "devices": devices,
                "gpus": gpus,
                "built_for": HOPPER,
            }
        },
        "calculate": {
            "result": {
                "errors": {name: dict.fromkeys(devices, 2e-7) for name in OPERATIONS},
            }
        },
        "allocate": {"result": {"wrong": {}, "devices": devices}},
        "train": {
            "result": {
                "losses": [2.5, 2.0, 1.5],
                "copies": len(devices),
                "variables": 4,
                "different": [],
            }
        },
    }


def changed(act: str, **more: Any) -> dict[str, Any]:
    table = copy.deepcopy(ADA)
    table[act]["result"] |= more
    return table


ADA = results(GPUS, capability=(8, 9))


@pytest.fixture
def gpus(box: Box) -> Box:
    box.plug_gpus(4)
    return box


def test_four_good_gpus_pass(gpus: Box) -> None:
    code, data = judge(gpus, "tensorflow", ADA, "--quick")
    assert (code, failed(data)) == (0, [])
    assert set(statuses(data)) == set(NAMES)
    assert data["counts"]["skip"] == 0


def test_without_a_gpu_the_architecture_is_deferred(box: Box) -> None:
    code, data = judge(box, "tensorflow", results(CPUS))
    assert (code, failed(data)) == (0, [])
    assert detail(data, "GPU architecture").startswith("deferred: ")


def test_blackwell_is_reported_as_what_it_is(gpus: Box) -> None:
    code, data = judge(gpus, "tensorflow", results(GPUS, capability=(12, 0)))
    assert (code, failed(data)) == (1, ["GPU architecture"])
    told = detail(data, "GPU architecture")
    assert "not for sm_120" in told
    assert "tensorflow/tensorflow#111958" in told


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (changed("probe", gpus=[]), ["devices"]),
        (changed("probe", gpus=[{"name": "G", "capability": [8, 9]}] * 3), ["devices"]),
        (changed("calculate", errors={}), list(OPERATIONS)),
        (
            ADA | {"calculate": {"code": -6, "log": "CUDA_ERROR_INVALID_PTX"}},
            list(OPERATIONS),
        ),
        (changed("allocate", wrong={GPUS[2]: "out of memory for 512 MiB"}), ["allocation"]),
        (changed("allocate", wrong=None), ["allocation"]),
        (changed("train", losses=[2.5, None, None]), ["training step"]),
        (changed("train", copies=3), ["training step"]),
        (changed("train", different=["dense/kernel"]), ["variables equal"]),
        (changed("train", losses=[]), ["training step"]),
        (ADA | {"train": {"code": 1, "log": "ValueError: no"}}, ["training step"]),
    ],
)
def test_each_fault_fails_its_own_check(gpus: Box, table: Any, names: list[str]) -> None:
    code, data = judge(gpus, "tensorflow", table)
    assert (code, failed(data)) == (1, names)
    assert set(statuses(data)) == set(NAMES)


@pytest.mark.parametrize("error", [1e-3, "InvalidArgumentError: no kernel", "ran on CPU:0"])
def test_one_wrong_device_fails_an_operation(gpus: Box, error: float | str) -> None:
    table = copy.deepcopy(ADA)
    table["calculate"]["result"]["errors"]["convolution"][GPUS[3]] = error
    code, data = judge(gpus, "tensorflow", table)
    assert (code, failed(data)) == (1, ["convolution"])
    assert GPUS[3] in detail(data, "convolution")


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((8, 9), HOPPER, True),
        ((8, 6), HOPPER, True),
        ((9, 0), HOPPER, False),
        ((12, 0), HOPPER, False),
        ((12, 0), ["sm_120a"], True),
        ((12, 0), ["sm_100", "compute_120"], False),
        ((12, 1), ["sm_120"], True),
        ((8, 0), [], False),
    ],
)
def test_machine_code_of_a_build(
    capability: tuple[int, int], built_for: list[str], runs: bool
) -> None:
    assert has_code(capability, built_for) is runs
