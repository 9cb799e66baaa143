"""Containers and virtual machines, booted for real, and what is left of them: nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cube import config
from cube.build import debug_machine
from cube.config.workspace import Workspace
from cube.disks import mount, qcow2
from cube.machines import (
    Firmware,
    Kind,
    Machine,
    MachineRequest,
    Machines,
    boot,
    cleanup,
    console,
    record,
    ssh,
)
from cube.machines.choose import Wanted, choose, down, up
from cube.machines.nspawn.container import Containers
from cube.machines.qemu.vm import VirtualMachines
from cube.runtime import run
from cube.runtime.errors import CommandError, CubeError, MachineError
from cube.seal import secure_boot
from tests.processes import running

MEMORY_MIB = 1024
#: Seconds for the kernel to clear what a killed process held.
CLEARED_S = 20


@pytest.fixture
def overlay(base_disk: Path, tmp_path: Path) -> Path:
    qcow2.create_overlay(tmp_path / "disk.qcow2", base_disk)
    return tmp_path / "disk.qcow2"


@pytest.fixture
def ask(overlay: Path, tmp_path: Path, key_file: Path) -> Callable[..., MachineRequest]:
    """Make a request for a machine on a fresh overlay; keywords replace what it asks for."""

    def make(**changes: object) -> MachineRequest:
        wanted: dict[str, object] = {
            "name": name_of(tmp_path),
            "disk": overlay,
            "run_dir": tmp_path / "machines" / "it",
            "key_file": key_file,
            "memory_mib": MEMORY_MIB,
        }
        return MachineRequest(**{**wanted, **changes})  # type: ignore[arg-type]

    return make


def name_of(folder: Path) -> str:
    """Return a machine's name that no other test has."""
    return folder.name.replace("_", "-")[-30:].strip("-")


def holding(folder: Path) -> list[str]:
    """Return what still refers to a test: processes, mounts, loop devices, control groups."""
    found = []
    for pid, words in running():
        command = " ".join(words)
        if str(folder) in command and pid != os.getpid():
            found.append(f"process {pid}: {command[:200]}")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [line for line in mounts if str(folder) in line]
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            found += [str(file)] * (str(folder) in file.read_text())
    mine = f"cube-{name_of(folder)}-"
    for parent, groups, _ in os.walk("/sys/fs/cgroup"):  # it passes over what goes meanwhile
        found += [f"control group {parent}/{name}" for name in groups if name.startswith(mine)]
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """Every test of this file leaves no process, mount or loop device."""
    yield
    assert eventually(lambda: not holding(tmp_path)), holding(tmp_path)


def eventually(true: Callable[[], bool], timeout_s: float = CLEARED_S) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def write_proof(machine: Machine) -> None:
    ssh.execute(machine.endpoint, "echo written | sudo tee /root/proof")


def read_proof(file: Path, folder: Path) -> str:
    with mount.mounted(file, folder / "look") as root:
        return (root / "root/proof").read_text()


def kill_in(folder: Path, program: str) -> None:
    """Kill the process of a test's folder that runs a program."""
    for pid, words in running():
        if Path(words[0]).name == program and str(folder) in " ".join(words):
            os.kill(pid, signal.SIGKILL)
            return
    raise AssertionError(f"no {program} runs in {folder}")


def console_of(request: MachineRequest) -> str:
    return console.file_of(request.run_dir).read_text(errors="replace")


Ask = Callable[..., MachineRequest]


@pytest.mark.timeout(300)
def test_container_boots_reboots_and_keeps_what_was_written(ask: Ask, tmp_path: Path) -> None:
    request = ask()
    with Containers().start(request) as machine:
        assert [found.name for found in record.running(tmp_path / "machines")] == [request.name]
        state = ssh.execute(machine.endpoint, "systemctl is-system-running --wait")
        assert state.stdout.strip() == "running"
        before = boot.identity(machine.endpoint)
        write_proof(machine)
        machine.reboot()
        assert boot.identity(machine.endpoint) != before
        machine.shutdown()
        assert not holding(tmp_path)
        assert record.running(tmp_path / "machines") == []
    qcow2.check(request.disk)
    assert read_proof(request.disk, tmp_path) == "written\n"


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("firmware", ["bios", "uefi", "secure-boot"])
def test_vm_boots_and_keeps_what_was_written(ask: Ask, tmp_path: Path, firmware: Firmware) -> None:
    request = ask(firmware=firmware)
    with VirtualMachines().start(request) as machine:
        assert [found.kind for found in record.running(tmp_path / "machines")] == ["vm"]
        efi = ssh.execute(machine.endpoint, "test -d /sys/firmware/efi", accept=(0, 1)).returncode
        assert (efi == 0) == (firmware != "bios")
        said = ssh.execute(machine.endpoint, secure_boot.ASK).stdout.strip()
        assert (secure_boot.parse(said) == "enabled") == (firmware == "secure-boot")
        write_proof(machine)
        machine.shutdown()
        assert record.running(tmp_path / "machines") == []
        assert not holding(tmp_path)
    qcow2.check(request.disk)
    assert read_proof(request.disk, tmp_path) == "written\n"


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_vm_reboots(ask: Ask) -> None:
    with VirtualMachines().start(ask()) as machine:
        before = boot.identity(machine.endpoint)
        machine.reboot()
        assert boot.identity(machine.endpoint) != before


@pytest.mark.timeout(300)
def test_guest_that_powers_itself_off_is_waited_for(ask: Ask, tmp_path: Path) -> None:
    request = ask()
    with Containers().start(request) as machine:
        write_proof(machine)
        off = "sudo systemctl poweroff --force"
        ssh.execute(machine.endpoint, off, accept=(0, ssh.BROKEN))
        machine.wait_until_off(timeout_s=60)
        assert not holding(tmp_path)
    assert read_proof(request.disk, tmp_path) == "written\n"


@pytest.mark.timeout(300)
def test_two_containers_run_side_by_side(ask: Ask, base_disk: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.qcow2"
    qcow2.create_overlay(other, base_disk)
    first, second = ask(wait=False), ask(name="other", disk=other, run_dir=tmp_path / "other")
    with Containers().start(first) as one, Containers().start(second) as two:
        one.wait_until_up()
        assert one.endpoint.port != two.endpoint.port
        assert boot.identity(one.endpoint) != boot.identity(two.endpoint)


@pytest.mark.timeout(300)
def test_name_that_is_up_is_refused(ask: Ask) -> None:
    with Containers().start(ask()) as machine:
        with (
            pytest.raises(MachineError, match="is up already"),
            Containers().start(ask()),
        ):
            pass
        assert boot.identity(machine.endpoint)


@pytest.mark.timeout(300)
def test_commands_have_exit_codes_input_and_time_limits(ask: Ask) -> None:
    with Containers().start(ask()) as machine:
        at = machine.endpoint
        assert ssh.execute(at, "cat; echo more >&2", stdin="given\n").stdout == "given\n"
        assert ssh.execute(at, "exit 3", accept=(3,)).returncode == 3
        with pytest.raises(CommandError, match="exit 4: exit code 4"):
            ssh.execute(at, "exit 4")
        with pytest.raises(CommandError, match="did not end within 1 s"):
            ssh.execute(at, "sleep 30", timeout_s=1)
        many = ssh.execute(at, "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2")
        assert (len(many.stdout), many.stderr) == (3_000_000, "end\n")
        client = run.run([*ssh.ssh_args(at), "true"], timeout_s=60)
        assert client.returncode == 0


@pytest.mark.timeout(300)
def test_changed_host_key_is_refused(ask: Ask) -> None:
    with Containers().start(ask()) as machine:
        again = "sudo rm /etc/ssh/ssh_host_*; sudo ssh-keygen -A && sudo systemctl restart ssh"
        ssh.execute(machine.endpoint, again, accept=(0, ssh.BROKEN))
        with pytest.raises(MachineError, match="ost key"):
            ssh.execute(machine.endpoint, "true")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", ["systemd-nspawn", "qemu-storage-daemon"])
def test_container_that_is_killed_is_an_error_at_once(
    ask: Ask, tmp_path: Path, program: str
) -> None:
    def work() -> None:
        with Containers().start(ask()) as machine:
            kill_in(tmp_path, program)
            machine.reboot()

    started = time.monotonic()
    with pytest.raises(MachineError, match="machine ") as caught:
        work()
    assert time.monotonic() - started < 120
    assert "console.log" in caught.value.hint


@pytest.mark.timeout(600)
def test_vm_whose_qemu_is_killed_is_an_error_at_once(ask: Ask, tmp_path: Path) -> None:
    request = ask(wait=False)
    killed = 0.0

    def work() -> None:
        nonlocal killed
        with VirtualMachines().start(request) as machine:
            assert eventually(lambda: "Linux version" in console_of(request), 240)
            kill_in(tmp_path, "qemu-system-x86_64")
            killed = time.monotonic()
            machine.wait_until_up()

    with pytest.raises(MachineError, match="the machine stopped") as caught:
        work()
    assert time.monotonic() - killed < 15
    assert caught.value.details


@pytest.mark.timeout(300)
def test_disk_without_an_image_is_no_container(ask: Ask, tmp_path: Path) -> None:
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "blank.qcow2", "1G"])
    with (
        pytest.raises(MachineError, match="no partition table"),
        Containers().start(ask(disk=tmp_path / "blank.qcow2")),
    ):
        pass


@pytest.mark.timeout(300)
def test_file_that_is_no_disk_is_no_container(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "garbage.qcow2").write_bytes(b"garbage" * 10_000)
    with (
        pytest.raises(MachineError, match="cannot be opened"),
        Containers().start(ask(disk=tmp_path / "garbage.qcow2")),
    ):
        pass


@pytest.mark.timeout(300)
def test_container_whose_init_fails_shows_its_console(ask: Ask, tmp_path: Path) -> None:
    request = ask()
    with mount.mounted(request.disk, tmp_path / "edit", writable=True) as root:
        (root / "usr/lib/systemd/systemd").write_text("#!/bin/sh\necho it broke\nexit 1\n")
    with (
        pytest.raises(MachineError, match="the machine stopped") as caught,
        Containers().start(request),
    ):
        pass
    assert "it broke" in caught.value.details


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("firmware", "sign"),
    [
        ("bios", "No bootable device"),
        ("uefi", "Shell>"),
        ("secure-boot", "No bootable option or device was found"),
    ],
)
def test_vm_with_nothing_to_boot_is_given_up(
    ask: Ask, tmp_path: Path, firmware: Firmware, sign: str
) -> None:
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "blank.qcow2", "1G"])
    request = ask(disk=tmp_path / "blank.qcow2", firmware=firmware)
    with (
        pytest.raises(MachineError, match="the guest does not boot") as caught,
        VirtualMachines().start(request),
    ):
        pass
    assert sign in caught.value.details


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["container", "vm"])
def test_killed_owner_takes_its_machine_along(ask: Ask, tmp_path: Path, kind: Kind) -> None:
    request = ask(wait=kind == "container")
    code = f"""
        import time
        from pathlib import PosixPath
        from cube.machines import MachineRequest
        from cube.machines.choose import choose
        request = {request!r}
        with choose({kind!r}).machines.start(request):
            print("up", flush=True)
            time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        (found,) = record.running(tmp_path / "machines")
        owner.kill()
    # An empty control group is all that the kernel leaves; the next run removes it.
    assert eventually(lambda: all("control group" in held for held in holding(tmp_path)))
    assert not found.life.alive
    (told,) = cleanup.clear(tmp_path / "machines")
    assert f"its owner, {owner.pid}, died" in told
    assert not any(folder.exists() for folder in found.folders)
    assert cleanup.clear(tmp_path / "machines") == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["container", pytest.param("vm", marks=pytest.mark.exhaustive)])
def test_detached_machine_is_stopped_by_another_process(
    ask: Ask, tmp_path: Path, kind: Wanted
) -> None:
    request = ask(detached=True)
    code = f"""
        from pathlib import PosixPath
        from cube.machines import MachineRequest
        from cube.machines.choose import choose, up
        up({request!r}, choose({kind!r}))
    """
    run.run([sys.executable, "-c", textwrap.dedent(code)], timeout_s=1200)
    assert cleanup.clear(tmp_path / "machines") == []
    (found,) = record.running(tmp_path / "machines")
    ssh.execute(found.endpoint, "echo written | sudo tee /root/proof")
    code = f"""
        from pathlib import Path
        from cube.machines import record
        from cube.machines.choose import down
        (found,) = record.running(Path({str(tmp_path / "machines")!r}))
        down(found)
    """
    run.run([sys.executable, "-c", textwrap.dedent(code)], timeout_s=600)
    assert record.running(tmp_path / "machines") == []
    assert not any(folder.exists() for folder in found.folders)
    assert not holding(tmp_path)
    assert read_proof(request.disk, tmp_path) == "written\n"


@pytest.mark.timeout(300)
def test_down_stops_every_machine_that_was_left_up(
    ask: Ask, base_disk: Path, tmp_path: Path
) -> None:
    loaded = config.load_text('[build]\ndir = "build"\n', tmp_path / "cube.toml")
    work = Workspace.of(loaded)
    disks = [work.machines / f"{debug_machine.NAME}{number}.qcow2" for number in (1, 2)]
    for copy in disks:
        copy.parent.mkdir(parents=True, exist_ok=True)
        qcow2.create_overlay(copy, base_disk)
        name = f"{name_of(tmp_path)}-{copy.stem}"
        wanted = ask(name=name, disk=copy, run_dir=copy.with_suffix(""), detached=True)
        machine = up(wanted, choose("container"))
        ssh.execute(machine.endpoint, "echo kept | sudo tee /etc/kept")
    assert len(record.left_up(work.machines)) == len(disks)

    debug_machine.down(loaded)

    assert record.recorded(work.machines) == []
    assert holding(tmp_path) == []
    for copy in disks:
        with mount.mounted(copy, tmp_path / "look") as root:
            assert (root / "etc/kept").read_text() == "kept\n"
    with pytest.raises(CubeError, match=r"no machine of debian-13 is up"):
        debug_machine.down(loaded)


def test_detached_machine_outlives_a_failure_in_its_block(ask: Ask, tmp_path: Path) -> None:
    request = ask(detached=True)
    with pytest.raises(MachineError, match="a layer failed"), Containers().start(request):
        raise MachineError("a layer failed")
    (found,) = record.running(tmp_path / "machines")
    assert boot.identity(found.endpoint)
    down(found)


@pytest.mark.timeout(300)
def test_failure_in_the_block_leaves_a_sound_disk(ask: Ask, tmp_path: Path) -> None:
    request = ask()

    def work() -> None:
        with Containers().start(request) as machine:
            write_proof(machine)
            raise MachineError("a layer failed")

    with pytest.raises(MachineError, match="a layer failed"):
        work()
    assert not holding(tmp_path)
    qcow2.check(request.disk)
    assert read_proof(request.disk, tmp_path) == "written\n"


@pytest.mark.timeout(300)
def test_looking_writes_nothing_even_over_a_dirty_journal(
    ask: Ask, tmp_path: Path, base_disk: Path
) -> None:
    request = ask()
    # Nothing is written back when the daemon is gone: the journal stays dirty.
    with contextlib.suppress(MachineError, CommandError), Containers().start(request) as machine:
        ssh.execute(machine.endpoint, "echo x | sudo tee /root/x")
        kill_in(tmp_path, "qemu-storage-daemon")
    before = request.disk.read_bytes()
    with mount.mounted(request.disk, tmp_path / "look") as root:
        assert (root / "etc/os-release").exists()
        with pytest.raises(OSError, match="Read-only"):
            (root / "etc/new").write_text("x")
    assert request.disk.read_bytes() == before


def test_mounts_are_seen_by_nobody_else(overlay: Path, tmp_path: Path) -> None:
    with mount.mounted(overlay, tmp_path / "look", writable=True) as root:
        assert (root / "etc/os-release").exists()
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("machines", [Containers(), VirtualMachines()])
def test_missing_disk_is_told(ask: Ask, tmp_path: Path, machines: Machines) -> None:
    with (
        pytest.raises(MachineError, match="missing"),
        machines.start(ask(disk=tmp_path / "missing.qcow2")),
    ):
        pass


def test_this_machine_gets_the_fastest_kind_that_works() -> None:
    assert choose("auto").kind in {"vm", "container"}
    assert choose("auto").reason
