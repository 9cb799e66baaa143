"""cube-grow-root, with the tools that touch disks replaced by scripts that note their call."""

import subprocess
from pathlib import Path

import pytest

from deploy.runner.sources import ROOT

SCRIPT = ROOT / "files" / "common" / "cube-grow-root"

#: What the tools answer on a plain partition; `grow` is what growpart prints, then its code.
PLAIN = {
    "findmnt": 'case "$*" in *SOURCE*) echo /dev/vda3 ;; *) echo ext4 ;; esac',
    "lvs": "exit 5",
    "lsblk": "echo vda",
    "growpart": 'echo "CHANGED: partition=3"',
    "resize2fs": "true",
}
LVM = {
    **PLAIN,
    "findmnt": 'case "$*" in *SOURCE*) echo /dev/mapper/vg-root ;; *) echo ext4 ;; esac',
    "lvs": "echo '  vg'",
    "pvs": "echo '  /dev/vda3'",
    "vgs": "echo '  512'",
    "pvresize": "true",
    "lvextend": "true",
}


class Box:
    """A folder of fake tools, a log of their calls, and a sysfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"
        self.log.touch()
        partition = folder / "sys/class/block/vda3/partition"
        partition.parent.mkdir(parents=True)
        partition.write_text("3\n")

    def run(self, tools: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
        bin_ = self.folder / "bin"
        bin_.mkdir()
        for name, body in tools.items():
            file = bin_ / name
            file.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{body}\n')
            file.chmod(0o755)
        env = {"PATH": f"{bin_}:/usr/bin:/bin", "SYSFS": str(self.folder / "sys")}
        return subprocess.run(
            ["sh", str(SCRIPT), *arguments], env=env, capture_output=True, text=True, check=False
        )

    @property
    def changes(self) -> list[str]:
        """Return the calls that change something."""
        readers = ("findmnt", "lvs", "pvs", "vgs", "lsblk", "btrfs filesystem show")
        lines = self.log.read_text().splitlines()
        return [line for line in lines if not line.startswith(readers)]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_partition_grows_with_its_file_system(box: Box) -> None:
    assert box.run(PLAIN).returncode == 0
    assert box.changes == ["growpart /dev/vda 3", "resize2fs /dev/vda3"]


def test_a_partition_that_fills_its_disk_is_fine(box: Box) -> None:
    tools = {
        **PLAIN,
        "growpart": 'echo "NOCHANGE: partition 3 could only be grown by 2047"; exit 1',
    }
    assert box.run(tools).returncode == 0
    assert box.changes[-1] == "resize2fs /dev/vda3"


def test_a_failure_of_growpart_is_a_failure(box: Box) -> None:
    done = box.run({**PLAIN, "growpart": 'echo "FAILED: sfdisk is missing"; exit 2'})
    assert done.returncode == 1
    assert "sfdisk is missing" in done.stdout


def test_lvm_grows_from_the_partition_up(box: Box) -> None:
    assert box.run(LVM).returncode == 0
    assert box.changes == [
        "growpart /dev/vda 3",
        "pvresize --quiet /dev/vda3",
        "lvextend --quiet --extents +100%FREE /dev/mapper/vg-root",
        "resize2fs /dev/mapper/vg-root",
    ]


def test_a_full_volume_group_is_left_alone(box: Box) -> None:
    assert box.run({**LVM, "vgs": "echo '  0'"}).returncode == 0
    assert not any(call.startswith("lvextend") for call in box.changes)


def test_a_mount_point_can_be_named(box: Box) -> None:
    tools = {
        **PLAIN,
        "findmnt": 'case "$*" in *SOURCE*) echo /dev/vda3 ;; *) echo xfs ;; esac',
        "xfs_growfs": "true",
    }
    assert box.run(tools, "/data").returncode == 0
    assert box.changes[-1] == "xfs_growfs /data"


def test_a_subvolume_is_on_its_device(box: Box) -> None:
    source = 'case "$*" in *nofsroot*SOURCE*) echo /dev/vda3 ;; *SOURCE*) echo "/dev/vda3[/@]" ;;'
    tools = {**PLAIN, "findmnt": f"{source} *) echo btrfs ;; esac", "btrfs": "true"}
    assert box.run(tools).returncode == 0
    assert box.changes == ["growpart /dev/vda 3", "btrfs filesystem resize max /"]


def test_of_several_devices_the_one_whose_partition_grew_is_grown(box: Box) -> None:
    source = 'case "$*" in *SOURCE*) echo /dev/vda3 ;; *) echo btrfs ;; esac'
    rows = "printf '\\tdevid %d size 1 used 1 path %s\\n' 1 /dev/vdb 2 /dev/vda3"
    tools = {**PLAIN, "findmnt": source, "btrfs": f'[ "$2" != show ] || {rows}'}
    assert box.run(tools).returncode == 0
    assert box.changes == ["growpart /dev/vda 3", "btrfs filesystem resize 2:max /"]


@pytest.mark.parametrize("kind", ["zfs", "overlay", "f2fs"])
def test_a_file_system_that_cannot_grow_is_told(box: Box, kind: str) -> None:
    source = f'case "$*" in *SOURCE*) echo pool/root ;; *) echo {kind} ;; esac'
    done = box.run({**PLAIN, "findmnt": source})
    assert (done.returncode, box.changes) == (1, [])
    assert f"cannot grow a file system of type {kind}" in done.stdout


def test_a_device_that_is_no_partition_is_told(box: Box) -> None:
    source = 'case "$*" in *SOURCE*) echo /dev/md0 ;; *) echo ext4 ;; esac'
    done = box.run({**PLAIN, "findmnt": source})
    assert (done.returncode, box.changes) == (0, ["resize2fs /dev/md0"])
    assert "/dev/md0 is no partition" in done.stdout


def test_what_is_no_mount_point_is_named(box: Box) -> None:
    done = box.run({**PLAIN, "findmnt": "exit 1"}, "/nowhere")
    assert done.returncode == 1
    assert "/nowhere is not a mount point" in done.stdout
    assert box.changes == []
