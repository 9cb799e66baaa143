"""Nothing in the image tells of its making."""

import pytest

from checks.hygiene.tree import Tree

#: What must not be there, and where it would be: one check each.
LEFTOVERS = {
    "journal": ("var/log/journal/**", "run/log/journal/**"),
    "apt lists": ("var/lib/apt/lists/**/*_*",),
    "apt archives": ("var/cache/apt/archives/**/*.deb", "var/cache/apt/*.bin"),
    "history": (
        "root/.*_history", "home/*/.*_history", "root/.lesshst", "home/*/.lesshst",
        "root/.viminfo", "home/*/.viminfo", "root/.wget-hsts", "home/*/.wget-hsts",
        "home/*/.sudo_as_admin_successful",
    ),
    "caches of root and users": ("root/.cache/**", "home/*/.cache/**"),
    "temporary files": ("tmp/**", "var/tmp/**"),
    "crash dumps": (
        "var/crash/**", "var/lib/systemd/coredump/**", "core", "core.*", "root/core*",
        "var/lib/apport/coredump/**",
    ),
    "installer logs": ("var/log/installer/**", "var/log/curtin/**"),
    "backups of account files": ("etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-",
                                 "etc/subuid-", "etc/subgid-", "var/backups/*"),
    "results of health checks": ("var/lib/cube/health.json",),
    "versions of files before a trial": ("var/lib/cube/before/**",),
    "files of pyinfra": ("root/.pyinfra*/**", "home/*/.pyinfra*/**", "usr/local/**/pyinfra-*"),
    "mail": ("var/mail/*", "var/spool/mail/*"),
}  # fmt: skip


@pytest.mark.parametrize("what", LEFTOVERS)
def test_image_is_free_of(image: Tree, what: str) -> None:
    assert image.files(*LEFTOVERS[what]) == []


def test_every_log_is_empty(image: Tree) -> None:
    logs = image.files("var/log/**")
    assert [name for name in logs if image.path(name).stat().st_size] == []


def test_image_has_no_swap(image: Tree) -> None:
    # Pages that were swapped out hold what was in memory; each box makes a file of its own.
    areas = [line for line in image.lines("etc/fstab") if line.split()[2:3] == ["swap"]]
    assert image.find("swap.img*", "swapfile*") + areas == []


def test_cloud_init_has_not_run(image: Tree) -> None:
    # Source: https://docs.cloud-init.io/en/latest/reference/cli.html#clean
    state = image.find("var/lib/cloud/instance", "var/lib/cloud/instances/*")
    state += image.files("var/lib/cloud/data/**", "var/lib/cloud/sem/**", "var/lib/cloud/seed/**")
    assert state == []


def test_cloud_init_is_enabled(image: Tree) -> None:
    assert image.find("etc/cloud/cloud-init.disabled") == []


@pytest.mark.parametrize(
    "path",
    [
        "etc/cloud/cloud.cfg.d/90-installer-network.cfg",
        "etc/cloud/cloud.cfg.d/99-installer.cfg",
        "etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg",
        "etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg",
        "etc/netplan/00-installer-config*",
        "etc/netplan/50-cloud-init.yaml",
        "autoinstall*",
        "root/curtin*",
        "usr/sbin/policy-rc.d",
    ],
)
def test_installer_has_left_nothing_at(image: Tree, path: str) -> None:
    assert image.find(path) == []


@pytest.mark.parametrize("timer", ["apt-daily.timer", "apt-daily-upgrade.timer"])
def test_updates_are_not_masked_as_they_are_while_building(image: Tree, timer: str) -> None:
    assert image.find(f"etc/systemd/system/{timer}") == []
