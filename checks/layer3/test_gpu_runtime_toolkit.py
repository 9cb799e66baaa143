"""NVIDIA's container toolkit is there in one version, and no upgrade moves it by itself."""

import pytest
from testinfra.host import Host

from cube.config import Spec
from cube.stack import profile

PARTS = (
    "libnvidia-container-tools", "libnvidia-container1", "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
)  # fmt: skip


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


def test_toolkit_comes_from_a_signed_archive_of_its_own(host: Host) -> None:
    source = host.check_output("cat /etc/apt/sources.list.d/nvidia-container-toolkit.sources")
    url = next(line.split()[1] for line in source.splitlines() if line.startswith("URIs:"))
    policy = host.check_output("apt-cache policy nvidia-container-toolkit")
    # A sealed image has no package lists, so apt knows of no archive.
    assert url.rstrip("/") in policy or not has_lists(host)
    assert "Enabled: no" not in source
    assert "Signed-By: /" in source
    assert "Trusted" not in source


def test_toolkit_s_program_runs(host: Host) -> None:
    assert host.run("nvidia-ctk --version").rc == 0
