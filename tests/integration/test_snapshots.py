"""`cube apply --snapshot` and the way back, on a virtual machine whose root is on LVM.

The disk is made here without a device mapper: the volume group is written as metadata only, and
the file system goes to where its volume begins. GRUB and the kernel start from the usual disk.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cube import config
from cube.config import Spec
from cube.disks import mount, qcow2
from cube.hosts import record, remote, snapshot, volumes
from cube.hosts.target import Box, find
from cube.machines import Endpoint, Machine, MachineRequest, address, boot
from cube.machines.qemu.vm import VirtualMachines
from cube.runtime import run
from cube.runtime.errors import SnapshotError
from tests.integration.conftest import PROJECT, Built, write_spec

pytestmark = pytest.mark.exhaustive

BIN = Path(sys.executable).parent
GROUP, ROOT = "cube-vg", "/dev/mapper/cube--vg-root"
DISK_GIB, ROOT_GIB = 6, 4
#: What the layers will change on the box: the first is layer 1's, the other layer 5's.
CHANGES = {
    'timezone = "Etc/UTC"': 'timezone = "Asia/Tokyo"',
    'version = "0.1.0"': 'version = "0.2.0"',
}
#: As a user would who wants to keep room: the root does not grow at the first start.
KEEP_ROOM = "etc/systemd/system/cube-grow-root.service.d/50-cube-snapshots.conf"


def lvm(loop: str, command: str, *words: str) -> str:
    """Run one of LVM's commands on one device, without this machine's device mapper."""
    config = (
        f'devices {{ use_devicesfile=0 scan_lvs=0 filter=["a|^{loop}$|","r|.*|"] }}'
        " activation { udev_sync=0 udev_rules=0 } backup { backup=0 archive=0 }"
    )
    argv = ["lvm", command, "--driverloaded", "n", "--config", config, *words]
    return run.run(argv).stdout.strip()


def make_group(raw: Path) -> int:
    """Make a volume group with an empty root volume in a file; return where that begins."""
    run.run(["truncate", "--size", f"{DISK_GIB}G", raw])
    loop = run.run(["losetup", "--find", "--show", raw]).stdout.strip()
    try:
        lvm(loop, "pvcreate", loop)
        lvm(loop, "vgcreate", GROUP, loop)
        lvm(
            loop,
            "lvcreate",
            "--yes",
            "--activate",
            "n",
            "--zero",
            "n",
            "--wipesignatures",
            "n",
            "--name",
            "root",
            "--size",
            f"{ROOT_GIB}G",
            GROUP,
        )
        units = ["--noheadings", "--nosuffix", "--units", "b"]
        return int(lvm(loop, "pvs", *units, "--options", "pe_start", loop))
    finally:
        run.run(["losetup", "--detach", loop])


def make_disks(built: Built, folder: Path) -> tuple[Path, Path]:
    """Return a disk that starts the kernel, and one whose volume group holds the root."""
    boot, raw = folder / "boot.qcow2", folder / "lvm.raw"
    qcow2.create_overlay(boot, built.store.named("layer5").disk.absolute())
    begins = make_group(raw)
    with mount.mounted(boot, folder / "look", writable=True) as root:
        for name in ("boot/grub/grub.cfg", "etc/fstab"):
            text = (root / name).read_text()
            for old in ("root=LABEL=cube-root", "LABEL=cube-root "):
                text = text.replace(old, old.replace("LABEL=cube-root", ROOT))
            (root / name).write_text(text)
        (root / KEEP_ROOM).parent.mkdir()
        (root / KEEP_ROOM).write_text("[Service]\nExecCondition=/bin/false\n")
        run.run(
            [
                "mke2fs",
                "-q",
                "-F",
                "-t",
                "ext4",
                "-d",
                str(root),
                "-E",
                f"offset={begins}",
                raw,
                f"{ROOT_GIB}G",
            ],
            timeout_s=600,
        )
    return boot, raw


@dataclass(frozen=True)
class Desk:
    """A box whose root is on LVM."""

    machine: Machine
    spec: Spec
    word: str
    box: Box

    def sh(self, script: str) -> str:
        """Run a script as root."""
        return remote.execute(self.box, script).stdout

    def cube(self, command: str, *words: str) -> dict[str, Any]:
        """Run a command of ours against it; return the result that it tells a program."""
        argv = [BIN / "cube", command, self.word, *words, "--json", "--spec", self.spec.file]
        done = subprocess.run(
            [str(word) for word in argv],
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
            timeout=1800,
        )
        assert done.returncode == 0, done.stdout
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def names(self) -> list[str]:
        """Return our snapshots."""
        return [one.name for one in volumes.read_root(self.box).snapshots]


@pytest.fixture(scope="module")
def desk(built: Built, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("lvm")
    boot, raw = make_disks(built, folder)
    file = write_spec(folder, folder / "build")
    text = file.read_text()
    for old, new in CHANGES.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)
    loaded = config.load(file)
    request = MachineRequest(
        name="lvm-desk", disk=boot, run_dir=folder / "run", key_file=key_file, extra_disks=(raw,)
    )
    with VirtualMachines().start(request) as machine:
        word = word_of(machine.endpoint)
        yield Desk(machine, loaded, word, remote.reach(find(loaded, word)))


def word_of(access: Endpoint) -> str:
    return address.of(access).url


def test_a_snapshot_that_overflows_is_told_and_worth_nothing(desk: Desk) -> None:
    assert desk.sh("findmnt -no SOURCE /").strip() == ROOT
    plan = snapshot.plan(desk.box, [5], size_mib=16)
    taken = snapshot.take(desk.box, plan, 5)
    assert snapshot.warn_of_overflow(desk.box, [taken]) == []
    desk.sh("head -c 64M /dev/urandom >/root/large && sync && rm /root/large")
    assert snapshot.warn_of_overflow(desk.box, [taken]) == [taken.name]
    with pytest.raises(SnapshotError, match="cube-vg/cube-before-layer5 overflowed"):
        snapshot.rollback(desk.spec, desk.word, "layer1")


def test_no_room_is_told_before_anything_changes(desk: Desk) -> None:
    with pytest.raises(SnapshotError, match=r"5 snapshots of 1\.0 GiB do not fit"):
        snapshot.plan(desk.box, [1, 2, 3, 4, 5], size_mib=1024)
    assert desk.names() == ["cube-before-layer5"]


def test_a_layer_is_taken_back_and_the_one_below_it_stays(desk: Desk) -> None:
    told = desk.cube("apply", "--layers", "1,5", "--snapshot", "--no-checks")
    assert [one["snapshot"] for one in told["layers"]] == desk.names()
    assert desk.names() == ["cube-before-layer1", "cube-before-layer5"]
    lower, upper = (record.read(desk.box).entry(layer) for layer in (1, 5))
    assert "0.2.0" in desk.sh("cat /etc/cube/release.json")

    before = boot.identity(desk.machine.endpoint)
    restored = desk.cube("rollback", "layer1")
    assert (restored["before"], restored["layers"]) == (5, [1, 5])
    assert boot.identity(desk.machine.endpoint) != before
    assert "0.1.0" in desk.sh("cat /etc/cube/release.json")
    assert "Asia/Tokyo" in desk.sh("timedatectl show -p Timezone")
    found = record.read(desk.box)
    assert found.entry(1) == lower
    assert found.entry(5) != upper  # the image's own
    assert desk.names() == ["cube-before-layer1"]
    assert not volumes.read_root(desk.box).volume.merging
    assert desk.sh("systemctl is-system-running --wait").strip() == "running"


def test_layers_are_taken_back(desk: Desk) -> None:
    before = record.read(desk.box)
    snapshot.take(desk.box, snapshot.plan(desk.box, [1, 5]), 1)
    assert desk.names() == ["cube-before-layer1"]  # what was older than it is gone
    told = desk.cube("apply", "--layers", "5", "--snapshot", "--no-checks")
    (layer,) = told["layers"]
    assert layer["snapshot"] == "cube-before-layer5"
    assert desk.names() == ["cube-before-layer1", "cube-before-layer5"]
    assert "0.2.0" in desk.sh("cat /etc/cube/release.json")
    assert record.read(desk.box).digest != before.digest

    running = boot.identity(desk.machine.endpoint)
    restored = desk.cube("rollback", "base")
    assert (restored["before"], restored["layers"]) == (1, list(before.layers))
    assert record.read(desk.box) == before
    assert boot.identity(desk.machine.endpoint) != running
    assert "0.1.0" in desk.sh("cat /etc/cube/release.json")
    assert desk.names() == []
    assert not volumes.read_root(desk.box).volume.merging
    assert desk.sh("systemctl is-system-running --wait").strip() == "running"


def test_there_is_nothing_to_go_back_to(desk: Desk) -> None:
    with pytest.raises(SnapshotError, match=r"above 1 \(there: none\)"):
        snapshot.rollback(desk.spec, desk.word, "layer1")
