"""Which packages automatic updates leave alone."""

import re

import pytest

from deploy.operations.held import HELD, KERNELS


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


@pytest.mark.parametrize(
    "package",
    [
        "linux-generic",
        "linux-image-generic",
        "linux-headers-generic",
        "linux-virtual",
        "linux-image-virtual",
        "linux-headers-virtual",
        "linux-generic-hwe-24.04",
        "linux-image-generic-hwe-24.04",
        "linux-headers-generic-hwe-24.04-edge",
        "linux-lowlatency",
        "linux-image-oem-24.04",
        "linux-aws",
        "linux-image-nvidia",
        "linux-image-extra-virtual",
    ],
)
def test_what_brings_a_new_kernel_is_held_with_signed_modules(package: str) -> None:
    assert any(re.match(pattern, package) for pattern in KERNELS)


@pytest.mark.parametrize(
    "package",
    [
        "linux-image-6.8.0-50-generic",
        "linux-headers-6.8.0-50-generic",
        "linux-headers-6.8.0-50",
        "linux-modules-6.8.0-50-generic",
        "linux-modules-nvidia-580-server-open-generic",
        "linux-firmware",
        "linux-base",
        "linux-libc-dev",
        "linux-tools-common",
        "linux-tools-generic",
        "linux-sysctl-defaults",
        "linux-image-amd64",
        "linux-perf",
    ],
)
def test_no_other_package_of_linux_is_held_with_them(package: str) -> None:
    assert not any(re.match(pattern, package) for pattern in KERNELS)


def test_no_expression_needs_an_escape_in_apts_settings() -> None:
    assert [one for one in (*HELD, *KERNELS) if "\\" in one or '"' in one] == []
