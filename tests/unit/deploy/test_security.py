"""Which packages automatic updates leave alone."""

import re

import pytest

from deploy.held import HELD


def is_held(package: str) -> bool:
    """Match as unattended-upgrades does: a regular expression, from the name's start."""
    return any(re.match(pattern, package) for pattern in HELD)


@pytest.mark.parametrize(
    "package",
    [
        "cuda-toolkit-12-4", "firmware-nvidia-gsp", "libcublas-12-4", "libcuda1", "libcudart12",
        "libcudnn9-cuda-12", "libcufile-12-4", "libcuinj64-12.4", "libcupti12", "libcusparse12",
        "libnccl2", "libnvidia-container1", "libnvidia-ml1", "libnvinfer10", "libnvjpeg12",
        "libnvrtc12", "libnppc12", "linux-modules-nvidia-550-6.8.0-31-generic",
        "nvidia-container-toolkit", "nvidia-driver", "nvidia-fabricmanager-550", "tensorrt",
    ],
)  # fmt: skip
def test_what_the_driver_is_made_of_is_held(package: str) -> None:
    assert is_held(package)


@pytest.mark.parametrize(
    "package",
    [
        "cups", "curl", "libcups2t64", "libcurl4t64", "libcue2", "libnvme1t64", "libnvpair3linux",
        "linux-image-amd64", "linux-modules-6.8.0-31-generic", "openssh-server",
    ],
)  # fmt: skip
def test_nothing_else_is_held(package: str) -> None:
    assert not is_held(package)
