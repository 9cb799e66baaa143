"""NVIDIA's container toolkit is there in one version, and no upgrade moves it by itself."""

import re

import pytest
from testinfra.host import Host

from cube.config import Spec
from cube.stack import profile

PARTS = (
    "libnvidia-container-tools", "libnvidia-container1", "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
)  # fmt: skip

#: Source: docs.nvidia.com/datacenter/cloud-native/container-toolkit, "Installing with apt".
TOOLKIT = "https://nvidia.github.io/libnvidia-container"
OURS = "cube-nvidia-container-toolkit.sources"


@pytest.mark.parametrize("package", PARTS)
def test_toolkit_has_the_version_of_the_profile(host: Host, spec: Spec, package: str) -> None:
    version = profile.load(spec.stack.profile).container_toolkit
    assert host.package(package).version.split("-")[0] == version


@pytest.mark.parametrize("package", PARTS)
def test_toolkit_is_held(host: Host, package: str) -> None:
    assert host.check_output("apt-mark showhold %s", package) == package


def has_lists(host: Host) -> bool:
    """Tell whether apt has any list of packages."""
    return bool(host.run("ls /var/lib/apt/lists/*_Packages*").rc == 0)


def test_toolkit_comes_from_a_signed_archive(host: Host, spec: Spec) -> None:
    """Ours names its key; one that somebody set up before has a place in apt's own trust."""
    url = f"{spec.stack.toolkit_url.rstrip('/') or TOOLKIT}/stable/deb/"
    folder = "/etc/apt/sources.list.d"
    files = host.check_output(f"grep -rlF %s /etc/apt/sources.list {folder}", url).split()
    source = host.check_output(f"cat {' '.join(files)}")
    policy = host.check_output("apt-cache policy nvidia-container-toolkit")
    # A sealed image has no package lists, so apt knows of no archive.
    assert url in policy or not has_lists(host)
    assert files != [f"{folder}/{OURS}"] or "Signed-By: /" in source
    assert re.findall(r"(?im)^\s*(?:trusted:.*|enabled: *no)|\btrusted=", source) == []


def test_toolkit_s_program_runs(host: Host) -> None:
    assert host.run("nvidia-ctk --version").rc == 0
