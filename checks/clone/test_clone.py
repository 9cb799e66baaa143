"""A copy of the golden image has become a machine of its own."""

import json
import re
from typing import Any

import pytest
from testinfra.host import Host

from cube.config import Spec
from cube.machines import BUILD_USER


@pytest.fixture(scope="module")
def cloud_init(host: Host) -> dict[str, Any]:
    """How cloud-init ended. Source: cloud-init status --help; 2 means recoverable errors."""
    told: dict[str, Any] = json.loads(host.run("cloud-init status --wait --format json").stdout)
    return told


@pytest.fixture(scope="module")
def root_device(host: Host) -> str:
    """The block device of the root file system."""
    source: str = host.check_output("findmnt --noheadings --nofsroot --output SOURCE /")
    return source


@pytest.mark.usefixtures("cloud_init")
def test_system_is_running(host: Host) -> None:
    assert host.run("systemctl is-system-running --wait").stdout.strip() == "running"


def test_nothing_critical_is_in_the_journal(host: Host) -> None:
    lines = host.check_output("journalctl --boot --priority crit --output cat --quiet")
    assert lines.splitlines() == []


def test_admin_is_let_in_by_key(host: Host, spec: Spec) -> None:
    # The checks themselves came in this way.
    assert host.check_output('echo "$SUDO_USER"') == spec.admin.user


def test_partitions_fill_the_disk(host: Host, root_device: str) -> None:
    rows = host.check_output(
        f"lsblk --inverse --bytes --noheadings --list --output NAME,TYPE {root_device}"
    )
    disks = [line.split()[0] for line in rows.splitlines() if line.split()[1] == "disk"]
    table = host.check_output(f"sfdisk --bytes --list-free --quiet --output Size /dev/{disks[0]}")
    room = sum(int(word) for word in re.findall(r"^\d+$", table, re.MULTILINE))
    assert room < 64 * 1024**2, f"{room} bytes of {disks[0]} belong to no partition"


def test_the_administrators_home_is_his_own(host: Host, spec: Spec) -> None:
    user = host.user(spec.admin.user)
    find = "find %s -xdev -not -user %s -print -o -not -group %s -print"
    assert host.check_output(find, user.home, user.name, user.group) == ""


def test_volume_groups_have_no_room_left(host: Host) -> None:
    rows = host.run("vgs --noheadings --options vg_name,vg_free_count").stdout.splitlines()
    assert [row.split()[0] for row in rows if int(row.split()[1])] == []


def test_root_file_system_fills_its_device(host: Host, root_device: str) -> None:
    device = int(host.check_output("blockdev --getsize64 %s", root_device))
    blocks = host.check_output("stat --file-system --format '%b %S' /").split()
    # ext4 keeps some 2 % for inodes and journal, more on small disks.
    assert int(blocks[0]) * int(blocks[1]) > 0.93 * device


def test_machine_id_is_made(host: Host) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", host.file("/etc/machine-id").content_string.strip())


def test_machine_id_is_kept(host: Host) -> None:
    # Where it could not be written, systemd mounts one that the next boot forgets.
    assert host.run("findmnt /etc/machine-id").rc == 1


def test_ssh_host_keys_are_made_that_sshd_offers(host: Host) -> None:
    made = host.run("ls /etc/ssh/ssh_host_*_key").stdout.split()
    assert made == [f"/etc/ssh/ssh_host_{kind}_key" for kind in ("ed25519", "rsa")]


def test_cloud_init_is_done(cloud_init: dict[str, Any]) -> None:
    assert cloud_init["status"] == "done"


def test_cloud_init_met_no_error(cloud_init: dict[str, Any]) -> None:
    assert cloud_init["errors"] == []


def test_cloud_init_met_nothing_to_warn_of(cloud_init: dict[str, Any]) -> None:
    assert cloud_init["recoverable_errors"] == {}


def test_build_user_is_absent(host: Host) -> None:
    assert not host.user(BUILD_USER).exists


def test_build_user_has_no_home(host: Host) -> None:
    assert not host.file(f"/home/{BUILD_USER}").exists


def test_nothing_in_etc_names_the_build_user(host: Host) -> None:
    assert host.run("grep -rl %s /etc", BUILD_USER).stdout.split() == []


def test_efi_partition_holds_no_private_key(host: Host) -> None:
    # The offline checks see it only where their kernel knows vfat.
    assert host.run("findmnt --mountpoint /boot/efi").rc == 0
    named = "find /boot/efi -iname '*.key' -o -iname '*.priv'"
    written = "grep -rlaE -e '-----BEGIN [A-Z ]*PRIVATE KEY-----' /boot/efi"
    assert host.check_output(named) + host.run(written).stdout == ""


def test_network_is_up(host: Host) -> None:
    assert host.check_output("ip -json route show default") != "[]"


def test_names_can_be_looked_up(host: Host) -> None:
    assert host.service("systemd-resolved").is_running


def test_apparmor_profiles_came_compiled(host: Host, spec: Spec) -> None:
    # Compiling them all is a minute of a first boot without KVM; /dev/null is as old as it.
    cache = "/var/cache/apparmor -type f -name '[!.]*'"
    made = len(host.run(f"find {cache} -cnewer /dev/null").stdout.splitlines())
    known = len(host.run(f"find {cache}").stdout.splitlines())
    # The role docker brings AppArmor; without it there is nothing to compile.
    assert made < known / 2 or (known == 0 and "docker" not in spec.layers.roles(1))
