"""What only a machine with a kernel of its own can show: one virtual machine for all of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cube import config
from cube.disks import qcow2
from cube.machines import MachineRequest, boot
from cube.machines.qemu.vm import VirtualMachines
from cube.runtime import run
from cube.runtime.errors import ValidationError
from tests.integration.conftest import Built, write_spec
from tests.integration.desk import PASSING, Desk

#: So that the tenth which a suite must leave is more than what the system takes for itself.
MEMORY_MIB = 3072


@pytest.fixture(scope="module")
def desk(built: Built, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A virtual machine on a copy of the last layer's disk, with a second disk of 2 GiB."""
    folder = tmp_path_factory.mktemp("vm")
    overlay, extra = folder / "disk.qcow2", folder / "extra.qcow2"
    qcow2.create_overlay(overlay, built.store.named("layer5").disk.absolute())
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", extra, "2G"])
    request = MachineRequest(
        name="vm-desk",
        disk=overlay,
        run_dir=folder / "run",
        key_file=key_file,
        memory_mib=MEMORY_MIB,
        extra_disks=(extra,),
    )
    loaded = config.load(write_spec(folder, folder / "build"))
    with VirtualMachines().start(request) as machine:
        yield Desk(machine, loaded)


#: A suite whose framework, a child as the real ones, takes memory until it is stopped.
GREEDY = """\
#!/usr/bin/python3
import subprocess, sys
print("... loading the model", file=sys.stderr, flush=True)
take = "all = []\\nwhile True: all.append(b'x' * (32 << 20))"
subprocess.run([sys.executable, "-c", take])
print("... still here", file=sys.stderr, flush=True)
"""


def test_a_suite_that_takes_all_memory_is_ended_and_the_box_goes_on(desk: Desk) -> None:
    before = boot.identity(desk.machine.endpoint)
    desk.plant("vllm", GREEDY)

    done = desk.cube("validate", "--quick", "--suites", "vllm")

    assert done.code == ValidationError.exit_code, done.told
    (suite,) = done.of("validation")["suites"]
    assert suite["outcome"] == "error"
    assert suite["reason"].startswith("out of memory: it wanted more than 90% of the box's")
    assert suite["output"].splitlines()[0] == "... loading the model"
    kernel = desk.sh("journalctl --dmesg --boot --grep oom-kill: --output=cat")
    assert "constraint=CONSTRAINT_MEMCG" in kernel  # its own limit, not the end of all memory
    assert "task_memcg=/system.slice/cube-suite.service" in kernel
    assert "still here" not in suite["output"]

    desk.plant("vllm", PASSING.format(name="vllm"))
    assert desk.cube("validate", "--quick", "--suites", "vllm").code == 0
    assert boot.identity(desk.machine.endpoint) == before
    assert desk.sh("systemctl is-active ssh docker fail2ban").split() == ["active"] * 3
    assert desk.sh("systemctl list-units --failed --plain --no-legend") == ""


#: Prints the size before, after and after a second growth, and the extents that are left over.
GROW = """set -e
exec 3>&1 >&2
disk=/dev/vdb
printf 'label: gpt\\nsize=512MiB\\n' | sfdisk --quiet $disk
udevadm settle
pvcreate ${disk}1 && vgcreate grow ${disk}1
lvcreate -n root -l 100%FREE grow && mkfs.ext4 -q /dev/grow/root
mkdir -p /mnt/grow && mount /dev/grow/root /mnt/grow
tell_size() { df --block-size=1 --output=size /mnt/grow | tail -n 1 >&3; }
tell_size
cube-grow-root /mnt/grow
tell_size
cube-grow-root /mnt/grow
tell_size
vgs --noheadings --options vg_free_count grow >&3
"""


def test_root_on_lvm_grows_with_its_disk(desk: Desk) -> None:
    before, after, again, free = map(int, desk.sh(GROW).split())
    assert before < 512 * 1024**2
    assert after > 1.8 * 1024**3
    assert (again, free) == (after, 0)
