"""Security updates install themselves, and leave alone what belongs to the GPUs."""

import re

import pytest
from testinfra.host import Host

from cube.config import Spec

#: What layer 2 and 3 install, as Debian, Ubuntu and NVIDIA call it.
#: Source: packages.debian.org (non-free), packages.ubuntu.com (restricted), NVIDIA's repository.
GPU_PACKAGES = [
    "nvidia-driver", "nvidia-driver-550-server", "nvidia-driver-550", "nvidia-kernel-dkms",
    "nvidia-dkms-550", "libnvidia-compute-550", "libnvidia-ml1", "nvidia-utils-550",
    "nvidia-container-toolkit", "linux-modules-nvidia-550-generic", "libcuda1",
    "cuda-toolkit-12-4", "libcudnn9-cuda-12", "libnccl2", "nvidia-fabricmanager-550",
]  # fmt: skip


@pytest.fixture(scope="module")
def apt(host: Host) -> str:
    """All settings of apt."""
    text: str = host.check_output("apt-config dump")
    return text


def values(apt: str, key: str) -> list[str]:
    """Return the values of a setting or of the list below it."""
    return re.findall(rf'^{re.escape(key)}(?:::)? "(.+)";$', apt, re.MULTILINE)


@pytest.mark.parametrize(
    "job", ["APT::Periodic::Update-Package-Lists", "APT::Periodic::Unattended-Upgrade"]
)
def test_daily_job_is_on(apt: str, job: str) -> None:
    assert values(apt, job) == ["1"]


def test_downloads_are_cleared_away(apt: str) -> None:
    assert [int(days) > 0 for days in values(apt, "APT::Periodic::AutocleanInterval")] == [True]


@pytest.mark.parametrize("timer", ["apt-daily.timer", "apt-daily-upgrade.timer"])
def test_timer_is_enabled(host: Host, timer: str) -> None:
    assert host.run("systemctl is-enabled %s", timer).stdout.strip() == "enabled"


@pytest.mark.parametrize("timer", ["apt-daily.timer", "apt-daily-upgrade.timer"])
def test_timer_is_waiting(host: Host, timer: str) -> None:
    assert host.run("systemctl is-active %s", timer).stdout.strip() == "active"


def test_security_archive_is_allowed(apt: str) -> None:
    allowed = values(apt, "Unattended-Upgrade::Origins-Pattern")
    allowed += values(apt, "Unattended-Upgrade::Allowed-Origins")
    assert [origin for origin in allowed if "security" in origin.lower()], allowed


@pytest.mark.parametrize("package", GPU_PACKAGES)
def test_updates_hold_back(apt: str, package: str) -> None:
    # Source: unattended-upgrades, is_pkgname_in_blacklist: re.match, from the name's start.
    held = values(apt, "Unattended-Upgrade::Package-Blacklist")
    assert any(re.match(pattern, package) for pattern in held), f"held: {held}"


@pytest.mark.parametrize("package", ["openssl", "linux-image-amd64", "openssh-server", "docker.io"])
def test_updates_do_not_hold_back(apt: str, package: str) -> None:
    held = values(apt, "Unattended-Upgrade::Package-Blacklist")
    assert [pattern for pattern in held if re.match(pattern, package)] == []


def test_updates_do_not_restart_the_machine(apt: str) -> None:
    assert "true" not in values(apt, "Unattended-Upgrade::Automatic-Reboot")


#: What is allowed besides: the release, which a security update may need a new package of.
RELEASES = {
    "debian-13": "origin=Debian,codename=trixie,label=Debian",
    "ubuntu-24.04": "origin=Ubuntu,archive=noble",
}
RUN_S = 600


@pytest.fixture(scope="module")
def dry_run(host: Host) -> str:
    """What an update would do now; nothing is installed."""
    done = host.run("unattended-upgrade --dry-run --debug 2>&1")
    assert done.rc == 0, done.stdout[-2000:]
    text: str = done.stdout
    return text


@pytest.mark.timeout(RUN_S)
def test_an_update_runs_through(dry_run: str) -> None:
    assert re.findall(r".*(?:ERROR|Traceback).*", dry_run) == []
    assert "upgrade result: True" in dry_run or "No packages found that can be" in dry_run


@pytest.mark.timeout(RUN_S)
def test_an_update_may_bring_new_packages_of_the_release(dry_run: str, spec: Spec) -> None:
    (line,) = re.findall(r"^Allowed origins are: (.*)$", dry_run, re.MULTILINE)
    assert RELEASES[spec.image.os] in line.split(", ")


@pytest.mark.parametrize(
    "what", ["Unused-Kernel-Packages", "Unused-Dependencies", "New-Unused-Dependencies"]
)
def test_updates_remove_no(apt: str, what: str) -> None:
    # Source: mvo5/unattended-upgrades, issue 395: it removed the kernel that ran.
    assert values(apt, f"Unattended-Upgrade::Remove-{what}") == ["false"]


def test_updates_can_run(host: Host) -> None:
    assert host.run("python3 -c 'import apt, apt_pkg, distro_info'").rc == 0
    assert host.exists("unattended-upgrade")
