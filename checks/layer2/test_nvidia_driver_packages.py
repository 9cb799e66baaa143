"""The driver's packages: of one version, of the branch asked for, and staying so."""

import re
from collections.abc import Mapping

import pytest
from testinfra.host import Host

from cube.config import Spec
from cube.stack.profile import Profile

#: NVIDIA's drivers are numbered "580.95.05"; nothing else of theirs begins with three digits.
DRIVER = re.compile(r"(?:\d+:)?(\d{3}\.\d+(?:\.\d+)?)")
#: What Debian and Ubuntu package apart from the driver, with a version of its own.
APART = ("nvidia-modprobe", "nvidia-settings", "nvidia-xconfig", "nvidia-persistenced")
#: Layer 3's.
LATER = ("nvidia-container", "libnvidia-container")
#: Metapackages of kernels. Source: packages.debian.org and packages.ubuntu.com, "linux-*".
KERNEL = re.compile(
    r"linux-(image|headers)-(?!\d|unsigned|extra)[\w.-]+|linux-(generic|virtual)[\w.-]*"
)
#: What prefers a host's archive. Source: apt_preferences(5)
PREFERRED = "Package: *\nPin: origin {}\nPin-Priority: 600\n"


@pytest.fixture(scope="module")
def parts(packages: Mapping[str, str]) -> dict[str, str]:
    """Version of the driver by the package that carries it."""
    names = [name for name in packages if re.search("nvidia|libcuda1", name)]
    found = {name: DRIVER.match(packages[name]) for name in names if name not in APART}
    return {name: match[1] for name, match in found.items() if match}


def test_packages_are_of_one_driver_version(parts: Mapping[str, str]) -> None:
    assert len(set(parts.values())) == 1, parts


def test_driver_is_of_the_branch_asked_for(parts: Mapping[str, str], stack: Profile) -> None:
    assert {version.split(".")[0] for version in parts.values()} == {stack.branch}


def test_driver_is_new_enough_for_cuda(parts: Mapping[str, str], stack: Profile) -> None:
    oldest = min(numbers(version) for version in parts.values())
    assert oldest >= numbers(stack.driver)


def numbers(version: str) -> list[int]:
    return [int(word) for word in version.split(".")]


def test_every_part_of_the_driver_is_held(host: Host, parts: Mapping[str, str]) -> None:
    held = set(host.check_output("apt-mark showhold").split())
    assert sorted(set(parts) - held) == []


def test_every_nvidia_package_is_held(host: Host, packages: Mapping[str, str]) -> None:
    held = set(host.check_output("apt-mark showhold").split())
    ours = [
        name
        for name in packages
        if re.match("(lib|firmware-)?nvidia", name) and not name.startswith(LATER)
    ]
    assert sorted({*ours} - held) == []


def test_an_upgrade_leaves_the_driver_alone(host: Host) -> None:
    plan = host.check_output("apt-get --simulate full-upgrade").splitlines()
    assert [line for line in plan if line.startswith("Inst") and "nvidia" in line] == []


def test_new_kernels_bring_what_a_module_needs(packages: Mapping[str, str]) -> None:
    flavours = [
        name.removeprefix("linux-image-")
        for name in packages
        if re.fullmatch(r"linux-image-(?!\d|unsigned|extra)[\w.-]+", name)
    ]
    bring = [
        flavour
        for flavour in flavours
        if f"linux-headers-{flavour}" not in packages
        and not any(
            name.startswith("linux-modules-nvidia") and name.endswith(flavour) for name in packages
        )
    ]
    assert bring == []


def test_kernels_move_with_signed_modules_or_freely(
    host: Host, packages: Mapping[str, str]
) -> None:
    # What brings each new kernel, by its name without a version; DKMS follows any kernel.
    kernels = {name for name in packages if KERNEL.fullmatch(name)}
    signed = any(name.startswith("linux-modules-nvidia-") for name in packages)
    held = kernels & set(host.check_output("apt-mark showhold").split())
    settings = host.check_output("apt-config dump Unattended-Upgrade::Package-Blacklist")
    patterns = re.findall(r'^Unattended-Upgrade::Package-Blacklist:: "(.+)";$', settings, re.M)
    kept = {name for name in kernels if any(re.match(one, name) for one in patterns)}
    assert kernels, "no package brings new kernels"
    assert (held, kept) == ((kernels, kernels) if signed else (set(), set()))


def test_nvidias_archive_is_preferred_when_it_is_the_source(host: Host, spec: Spec) -> None:
    # Read from apt's settings: a sealed image has no package lists, and apt-cache no policy.
    archives = host.check_output("grep -rhoE '^URIs: .*|^deb .*' /etc/apt/sources.list.d || true")
    pins = host.run("cat /etc/apt/preferences.d/60-cube-nvidia").stdout
    found = re.findall(r"\w+://([^/:\s]+)\S*/(?:debian13|ubuntu2404)/x86_64", archives)
    preferred = [name for name in found if PREFERRED.format(name) in pins]
    assert bool(preferred) == (spec.stack.source == "nvidia")


def test_branch_is_pinned_when_nvidia_is_the_source(
    packages: Mapping[str, str], spec: Spec, stack: Profile
) -> None:
    pinned = f"nvidia-driver-pinning-{stack.branch}" in packages
    assert pinned == (spec.stack.source == "nvidia")


def test_no_desktop_came_along(packages: Mapping[str, str]) -> None:
    assert [name for name in packages if name.startswith("xserver-xorg")] == []
