"""Packer for real: a base image that boots by BIOS and UEFI, and every way in which it fails.

The disks that fail are tiny and empty: what fails is the point.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube import baseimage, config
from cube.baseimage.packer import inputs, watch
from cube.config.workspace import Workspace
from cube.machines.qemu import accelerator, firmware
from cube.runtime import run
from cube.runtime.errors import PackerError
from tests.processes import running

pytestmark = pytest.mark.integration

MIB = 1024 * 1024
MESSAGE = b"no system here\r\n"
#: Registers of the first serial port, as the words of `mov dx`. Source: 16550 UART.
DATA, LINE_STATUS = b"\xba\xf8\x03", b"\xba\xfd\x03"


def boot_sector(message: bytes) -> bytes:
    """Return a boot sector that says something on the serial line and never boots.

    It writes to the port itself, with interrupts off: the firmware writes there too, what it has
    kept back at a tick of its timer, in the middle of a message on a busy machine.
    """
    code = b"\xfa"  # cli
    for letter in message:
        code += LINE_STATUS + b"\xec\xa8\x20\x74\xfb"  # in al, dx; until test al, 20h: ready
        code += DATA + b"\xb0" + bytes([letter]) + b"\xee"  # mov al, L; out dx, al
    code += b"\xf4\xeb\xfd"  # hlt; jmp to it
    return code.ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture
def found(tmp_path: Path) -> config.Spec:
    text = '[build]\ndir = "build"\nmemory = "1 GiB"\n[image]\ndisk_size = "8 GiB"\n'
    return config.load_text(text, tmp_path / "cube.toml")


@pytest.fixture
def dead_disk(tmp_path: Path) -> Path:
    """Return a disk that starts and says something, but holds no system."""
    disk = tmp_path / "dead.img"
    with disk.open("wb") as file:
        file.write(boot_sector(MESSAGE))
        file.truncate(8 * MIB)
    return disk


@pytest.fixture(autouse=True)
def nothing_left(found: config.Spec) -> Iterator[None]:
    """Whatever happens: no base image under its final name, no QEMU, no Packer."""
    yield
    workspace = Workspace.of(found)
    assert watch.qemu_pid(inputs.Folder.of(workspace).console) is None
    assert processes_naming(str(workspace.root)) == []


def processes_naming(text: str) -> list[str]:
    """Return the commands of others that still run and name something."""
    commands = [" ".join(words) for pid, words in running() if pid != os.getpid()]
    return [command for command in commands if text in command]


def wait_for_qemu(found: config.Spec, timeout_s: float = 60) -> int:
    """Wait until the guest has said its line and Packer waits for it; return QEMU's pid."""
    folder = inputs.Folder.of(Workspace.of(found))
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        pid = watch.qemu_pid(folder.console)
        packer_log = folder.log.read_text() if folder.log.exists() else ""
        spoken = MESSAGE.decode().strip() in watch.console_tail(folder.console)
        if pid is not None and spoken and "Waiting for SSH" in packer_log:
            return pid
        time.sleep(0.2)
    console = watch.console_tail(folder.console)
    raise AssertionError(f"QEMU {pid} on its console: {console!r}; Packer: {packer_log[-2000:]}")


def test_a_mirror_that_cannot_be_reached_is_told_within_seconds(
    found: config.Spec, key_file: Path, tmp_path: Path
) -> None:
    network = found.network.model_copy(update={"apt_mirror": "http://127.0.0.1:9/debian"})
    cut_off = found.model_copy(update={"network": network})
    started = time.monotonic()
    with pytest.raises(PackerError, match="could not bootstrap") as caught:
        baseimage.build_base(
            cut_off, Workspace.of(cut_off), key_file=key_file, target=tmp_path / "base.qcow2"
        )
    assert time.monotonic() - started < 60
    assert "Connection refused" in caught.value.details
    assert not (Workspace.of(found).work / "bootstrap" / "tree").exists()


def test_a_disk_that_does_not_boot_is_told_with_the_consoles_last_lines(
    found: config.Spec, key_file: Path, dead_disk: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(PackerError, match="first boot") as caught:
        baseimage.first_boot(
            found, Workspace.of(found), dead_disk, key_file=key_file, boot_timeout_s=15
        )
    assert time.monotonic() - started < 60
    assert "Timeout waiting for SSH" in caught.value.details
    assert MESSAGE.decode().strip() in caught.value.details


def test_qemu_that_does_not_start_is_told_in_its_own_words(
    found: config.Spec, key_file: Path, dead_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "EMULATED_CPU", "no-such-cpu")
    monkeypatch.setattr(accelerator, "find", lambda: "tcg")
    with pytest.raises(PackerError, match="first boot") as caught:
        baseimage.first_boot(found, Workspace.of(found), dead_disk, key_file=key_file)
    assert "unable to find CPU model 'no-such-cpu'" in caught.value.details


# The build is a program of its own, so that it can be killed.
BUILD = textwrap.dedent("""
    import sys
    from pathlib import Path
    from cube import baseimage, config
    from cube.runtime.errors import CubeError
    from cube.config.workspace import Workspace
    file, disk, key_file = map(Path, sys.argv[1:])
    found = config.load(file)
    try:
        baseimage.first_boot(found, Workspace.of(found), disk, key_file=key_file)
    except CubeError as error:
        print(error.message, error.details, sep="\\n")
        sys.exit(error.exit_code)
""")


@pytest.fixture
def build(found: config.Spec, key_file: Path, dead_disk: Path) -> Iterator[subprocess.Popen[str]]:
    found.file.write_text(
        '[build]\ndir = "build"\nmemory = "1 GiB"\n[image]\ndisk_size = "8 GiB"\n'
    )
    with subprocess.Popen(
        [sys.executable, "-c", BUILD, found.file, dead_disk, key_file],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        yield process
        process.kill()


def test_a_killed_qemu_is_told_quickly(found: config.Spec, build: subprocess.Popen[str]) -> None:
    os.kill(wait_for_qemu(found), signal.SIGKILL)
    started = time.monotonic()
    said, _ = build.communicate(timeout=90)
    assert time.monotonic() - started < 60
    assert build.returncode == PackerError.exit_code
    assert "QEMU ended before the guest was done" in said
    assert MESSAGE.decode().strip() in said


def test_ctrl_c_leaves_nothing(found: config.Spec, build: subprocess.Popen[str]) -> None:
    wait_for_qemu(found)
    os.kill(build.pid, signal.SIGINT)
    build.communicate(timeout=60)
    assert build.returncode not in {0, None}


def test_a_killed_build_leaves_nothing(found: config.Spec, build: subprocess.Popen[str]) -> None:
    wait_for_qemu(found)
    build.kill()
    build.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while processes_naming(str(Workspace.of(found).root)) and time.monotonic() < deadline:
        time.sleep(0.1)


def boots(disk: Path, firmware: list[str], console: Path, timeout_s: float) -> str:
    """Boot a disk, every write thrown away, until systemd greets from its root file system.

    Returns:
        What was said until then.
    """
    argv = [
        "qemu-system-x86_64",
        "-machine",
        "q35",
        "-accel",
        "tcg,tb-size=512",
        "-cpu",
        inputs.EMULATED_CPU,
        "-m",
        "1024",
        "-display",
        "none",
        "-nic",
        "none",
        *firmware,
        "-serial",
        f"file:{console}",
        "-drive",
        f"file={disk},if=virtio,snapshot=on",
    ]
    deadline = time.monotonic() + timeout_s
    with run.spawn(argv) as process:
        while "Welcome to " not in watch.console_tail(console, 10_000):
            assert process.returncode is None, "QEMU ended"
            assert time.monotonic() < deadline, watch.console_tail(console)
            time.sleep(1)
    return watch.console_tail(console, 10_000)


@pytest.mark.exhaustive
def test_the_base_image_boots_by_uefi(base_disk: Path, tmp_path: Path) -> None:
    """It has booted by BIOS when it was made."""
    uefi = firmware.copy_variables(tmp_path)
    pflash = [
        "-drive",
        f"if=pflash,format=raw,readonly=on,file={uefi.code}",
        "-drive",
        f"if=pflash,format=raw,file={uefi.variables}",
    ]
    said = boots(base_disk, pflash, tmp_path / "uefi.log", timeout_s=300)
    assert "efi: EFI v" in said
