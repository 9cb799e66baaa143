"""A disk laid out exactly as Ubuntu's answers say, with Debian on it: mounted, sealed, booted.

The installer's ISO is not here, so the files are Debian's; the shape is what the answers say.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cube import config
from cube.baseimage.ubuntu import autoinstall
from cube.baseimage.ubuntu import storage_config as storage
from cube.baseimage.ubuntu.storage_config import Partition
from cube.config.workspace import Workspace
from cube.disks import gpt, loop, lvm, mount, qcow2, shape
from cube.disks.shape import MIB
from cube.machines import MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.machines.qemu.vm import VirtualMachines
from cube.runtime import run
from cube.seal import boot_test, sealing
from cube.seal.boot_test import Plan, ProofRequest
from cube.seal.clones import expect_grown, look
from tests.integration.conftest import Built

UBUNTU = f"""
[image]
os = "ubuntu-24.04"
[os."ubuntu-24.04"]
iso_url = "file:///none.iso"
iso_sha256 = "{"0" * 64}"
"""
#: Types of partitions in sfdisk's words, by curtin's flags.
TYPES = {"bios_grub": gpt.BIOS_BOOT_TYPE, "boot": "uefi", "lvm": "lvm"}
#: Room beside the files of the tree, in MiB.
SLACK_MIB = 1024


@pytest.fixture
def answers(tmp_path: Path) -> list[Partition]:
    """The partitions that the installer is told to make."""
    loaded = config.load_text(UBUNTU, tmp_path / "cube.toml")
    data = yaml.safe_load(autoinstall.render_user_data(loaded, "ssh-ed25519 AAAA cube"))
    found = data["autoinstall"]["storage"]
    assert found["swap"] == {"size": 0}
    return storage.plan(found["config"])


def sfdisk_table(plan: Sequence[Partition]) -> str:
    rows = [
        f"start={part.start_mib}MiB, type={TYPES[part.flag]}"
        + (f", size={part.size_mib}MiB" if part.size_mib else "")
        for part in plan
    ]
    return "label: gpt\n" + "\n".join(rows) + "\n"


def lay_out(raw: Path, plan: Sequence[Partition], tree: Path) -> None:
    """Do what curtin does with the answers, and late-commands with the boot loaders."""
    bios, esp, root = plan
    assert (bios.flag, esp.flag, root.flag) == ("bios_grub", "boot", "lvm")
    assert (esp.fstype, esp.label, esp.path) == ("fat32", shape.ESP_LABEL, "/boot/efi")
    assert (root.fstype, root.label, root.path) == ("ext4", shape.ROOT_LABEL, "/")
    extents = -(-(gpt.tree_mib(tree) + SLACK_MIB) // shape.EXTENT_MIB)
    root_mib = extents * shape.EXTENT_MIB
    with raw.open("wb") as file:
        file.truncate((root.start_mib + root_mib + 2) * MIB)
    run.run(["sfdisk", "--quiet", raw], stdin=sfdisk_table(plan))
    with loop.attached(raw, offset=root.start_mib * MIB, size=(root_mib + 1) * MIB) as device:
        leave = ("--yes", "--activate", "n", "--zero", "n", "--wipesignatures", "n")
        where = ("--extents", "100%FREE", "--name", root.volume, root.group)
        run.run(lvm.args("pvcreate", device, str(device)))
        run.run(lvm.args("vgcreate", device, root.group, str(device)))
        run.run(lvm.args("lvcreate", device, *leave, *where))
    gpt.add_grub(tree, "lvm")
    at = (root.start_mib + shape.PV_START_MIB) * MIB
    run.run(gpt.root_args(tree, raw, at=at, size=root_mib * MIB), timeout_s=900)
    gpt.write_esp(tree, raw)
    gpt.write_bios_boot(tree, raw)


def as_installed(tree: Path, plan: Sequence[Partition]) -> None:
    """Write what the installer writes into the system: fstab, and the name of the root."""
    lines = [f"{part.source} {part.path} auto {part.options} 0 1" for part in plan if part.path]
    (tree / "etc/fstab").write_text("\n".join(reversed(lines)) + "\n")
    grub = tree / "etc/default/grub.d/99-cube.cfg"
    text = grub.read_text().replace('"LABEL=cube-root"', f'"{shape.root_device("lvm")}"')
    grub.write_text(text)
    assert shape.root_device("lvm") in grub.read_text()


@pytest.fixture
def installed(built: Built, answers: list[Partition], tmp_path: Path) -> Path:
    """A qcow2 disk of Ubuntu's shape with the last layer's files."""
    overlay, raw = tmp_path / "overlay.qcow2", tmp_path / "installed.raw"
    qcow2.create_overlay(overlay, built.store.named("").disk.absolute())
    with mount.mounted(overlay, tmp_path / "run", writable=True) as tree:
        as_installed(tree, answers)
        lay_out(raw, answers, tree)
    target = tmp_path / "installed.qcow2"
    run.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target], timeout_s=600)
    raw.unlink()
    return target


@pytest.mark.exhaustive
def test_ubuntus_disk_goes_through_the_pipeline(
    built: Built, installed: Path, key_file: Path, tmp_path: Path
) -> None:
    request = MachineRequest(
        name="shape-test", disk=installed, run_dir=tmp_path / "machine", key_file=key_file, cpus=1
    )
    with Containers().start(request) as machine:
        # A container has no udev, which would know the label.
        mounted = ssh.execute(machine.endpoint, "findmnt --noheadings --output FSTYPE /").stdout
        assert mounted.strip() == "ext4"
        ssh.execute(machine.endpoint, "sudo update-grub 2>/dev/null")
        menu = ssh.execute(machine.endpoint, "sudo cat /boot/grub/grub.cfg").stdout
        assert f"root={shape.root_device('lvm')} " in menu
        machine.shutdown()
    sealing.clean(installed, built.spec, key_file=key_file, work=tmp_path)

    work = replace(Workspace.of(built.spec), root=tmp_path / "build")
    work.build_key.parent.mkdir(parents=True)
    run.run(["cp", key_file, work.build_key])
    run.run(["cp", f"{key_file}.pub", f"{work.build_key}.pub"])
    artifact = tmp_path / "sealed.qcow2"
    with sealing.repacked(installed, built.spec, work) as raw:
        sealing.flatten(raw, artifact)
    inspection = sealing.inspect(artifact, built.spec, work=tmp_path, results=tmp_path)

    wanted = ProofRequest(
        artifact=artifact,
        root_bytes=inspection.root_bytes,
        build_key=key_file,
        spec=built.spec,
        work=tmp_path,
        results=tmp_path,
        wanted=(),
    )
    ssh.make_key(wanted.key_file)
    plan = Plan(name="shape-clone", firmware="bios", marker="")
    with boot_test.starting(wanted, plan, VirtualMachines()) as clone:
        boot_test.wait_for_boot(clone, 0.0)
        seen = look(clone)
        expect_grown(plan.name, seen.root_bytes, inspection.root_bytes)
        source = ssh.execute(clone.endpoint, "findmnt --noheadings --output SOURCE /").stdout
        assert source.strip() == shape.root_device("lvm")
