"""What the build host must have, what it lacks, and how to get it."""

import os
import platform
import pwd
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cube.build import demands
from cube.build.demands import MEMORY_INFO, memory_mib
from cube.config import Spec
from cube.machines import choose
from cube.machines.qemu import accelerator, firmware
from cube.runtime import run
from cube.runtime.errors import CommandError, HostError

Level = Literal["ok", "note", "lack"]

#: Free space that a build asks for. An estimate with room to spare, not a measured peak: the
#: chain took 2.4 GB and the sealed image 0.7 GB (docs/build.md), beside bootstrap and clones.
DISK_GIB = 12
#: One virtual machine of the boot test, the builder itself and its caches.
MEMORY_GIB = 3
MINIMUM_PYTHON = (3, 11)
#: Without it libvirt's QEMU driver does not start as root on Debian and Ubuntu.
QEMU_ACCOUNT = "libvirt-qemu"
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program that a build calls.

    Args:
        program: its name on PATH.
        package: the Debian package that holds it.
        purpose: what it is called for.
    """

    program: str
    package: str
    purpose: str


TOOLS = (
    Tool(program="packer", package="packer", purpose="makes the bare OS image"),
    Tool(program="qemu-system-x86_64", package="qemu-system-x86", purpose="virtual machines"),
    Tool(program="qemu-img", package="qemu-utils", purpose="disk images"),
    Tool(program="qemu-storage-daemon", package="qemu-system-x86", purpose="mounts disk images"),
    Tool(program="systemd-nspawn", package="systemd-container", purpose="the container machine"),
    Tool(program="slirp4netns", package="slirp4netns", purpose="the container's network"),
    Tool(program="mmdebstrap", package="mmdebstrap", purpose="bootstraps Debian"),
    Tool(program="mke2fs", package="e2fsprogs", purpose="Debian's root file system"),
    Tool(program="mformat", package="mtools", purpose="Debian's EFI partition"),
    Tool(program="sfdisk", package="fdisk", purpose="partition tables"),
    Tool(program="xorriso", package="xorriso", purpose="reads ISO files, writes seed CDs"),
    Tool(program="nsenter", package="util-linux", purpose="namespaces of containers"),
    Tool(program="pkill", package="procps", purpose="stops containers"),
    Tool(program="debugfs", package="e2fsprogs", purpose="reads the bare image's proof"),
    Tool(program="ip", package="iproute2", purpose="network namespaces"),
    Tool(program="setpriv", package="util-linux", purpose="ends programs together with us"),
    Tool(program="ssh", package="openssh-client", purpose="logins"),
    Tool(program="ssh-keygen", package="openssh-client", purpose="keys"),
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: whether it is there.
        subject: what; a key of cube.toml stands with its value.
        text: what was found.
        remedy: how to get what is lacking.
        asked: cube.toml asks for it.
    """

    level: Level
    subject: str
    text: str
    remedy: str = ""
    asked: bool = False


def examine(spec: Spec) -> list[Finding]:
    """Look at everything that a build of this specification needs."""
    findings: list[Finding] = [examine_python(), examine_system()]
    findings += [examine_tool(tool) for tool in TOOLS]
    findings += [examine_libvirt(), examine_firmware(), examine_secure_boot()]
    findings += [examine_rights(), examine_accelerator()]
    asked = demands.unmet(spec)
    if "build.dir" not in {one.key for one in asked}:
        findings.append(examine_disk(spec.build.dir))
    findings.append(examine_memory(MEMORY_INFO))
    return [*findings, *map(finding_of, asked)]


def finding_of(one: demands.Unmet) -> Finding:
    """What cube.toml asks for, and this machine has not."""
    return Finding(level="lack", subject=one.subject, text=one.text, remedy=one.remedy, asked=True)


def examine_python() -> Finding:
    """The interpreter that runs us."""
    version = platform.python_version()
    if sys.version_info[:2] < MINIMUM_PYTHON:
        needed = ".".join(map(str, MINIMUM_PYTHON))
        return Finding(
            level="lack",
            subject="python",
            text=f"{version}, {needed} needed",
            remedy="use Debian 12, Ubuntu 24.04 or later, and run 'make setup' again",
        )
    return Finding(level="ok", subject="python", text=version)


def examine_system() -> Finding:
    """The operating system and the processor; images are amd64."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        return Finding(
            level="lack",
            subject="system",
            text=f"{system} on {machine}",
            remedy="build on Linux on x86_64: the images are amd64",
        )
    return Finding(level="ok", subject="system", text=f"Linux {platform.release()} on {machine}")


def examine_tool(tool: Tool) -> Finding:
    """Whether a program is there, and its version where it tells one at once."""
    path = shutil.which(tool.program)
    if path is None:
        return Finding(
            level="lack",
            subject=tool.program,
            text=f"not found ({tool.purpose})",
            remedy=install_hint(tool),
        )
    return Finding(level="ok", subject=tool.program, text=version_of(tool.program) or path)


def install_hint(tool: Tool) -> str:
    """Say how to install a program; HashiCorp's own repository has newer Packers."""
    if tool.program == "packer":
        return "make setup (or: https://developer.hashicorp.com/packer/install)"
    return f"sudo apt-get install {tool.package}"


#: Programs that say their version in one line, and the option that asks for it.
VERSION_OPTIONS = {
    "packer": "version",
    "qemu-system-x86_64": "--version",
    "qemu-img": "--version",
    "mmdebstrap": "--version",
    "systemd-nspawn": "--version",
    "slirp4netns": "--version",
}


def version_of(program: str) -> str:
    """Return the first line that a program says about its version, or nothing."""
    option = VERSION_OPTIONS.get(program)
    if option is None:
        return ""
    try:
        done = run.run([program, option], timeout_s=20)
    except CommandError:
        return ""
    return (done.stdout.strip().splitlines() or [""])[0]


def examine_libvirt() -> Finding:
    """The QEMU driver of libvirt, which runs inside our own process."""
    drivers = [*Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_qemu.so")]
    drivers += [*Path("/usr/lib64/libvirt/connection-driver").glob("libvirt_driver_qemu.so")]
    if not drivers:
        return Finding(
            level="lack",
            subject="libvirt",
            text="the QEMU driver was not found",
            remedy="sudo apt-get install libvirt-daemon libvirt-daemon-driver-qemu",
        )
    try:
        pwd.getpwnam(QEMU_ACCOUNT)
    except KeyError:
        return Finding(
            level="lack",
            subject="libvirt",
            text=f"there is no account {QEMU_ACCOUNT}",
            remedy="make setup",
        )
    return Finding(level="ok", subject="libvirt", text=str(drivers[0]))


def examine_firmware() -> Finding:
    """UEFI firmware: the boot test starts one clone with it."""
    try:
        found = firmware.find()
    except HostError as error:
        remedy = "sudo apt-get install ovmf"
        return Finding(level="lack", subject="ovmf", text=error.message, remedy=remedy)
    return Finding(level="ok", subject="ovmf", text=str(found.code))


def examine_secure_boot() -> Finding:
    """UEFI firmware with Microsoft's keys: without it the boot test cannot prove Secure Boot."""
    try:
        found = firmware.find(secure_boot=True)
    except HostError as error:
        text = f"{error.message}: a build does not prove Secure Boot"
        remedy = firmware.INSTALL_SECURE
        return Finding(level="note", subject="Secure Boot", text=text, remedy=remedy)
    return Finding(level="ok", subject="Secure Boot", text=str(found.code))


def examine_rights() -> Finding:
    """Root: bootstrapping, mounting and containers need it."""
    if os.geteuid() != 0:
        return Finding(
            level="lack",
            subject="rights",
            text=f"user id {os.geteuid()}, root needed",
            remedy="run it with sudo: sudo make image, sudo .venv/bin/cube ...",
        )
    return Finding(level="ok", subject="rights", text="root")


def examine_accelerator() -> Finding:
    """What runs guest code, found by trying it."""
    try:
        name = accelerator.find()
    except HostError as error:
        return Finding(level="note", subject="accelerator", text=f"not tried: {error.message}")
    if name != "tcg":
        return Finding(level="ok", subject="accelerator", text=name)
    obstacle = choose.container_obstacle()
    layers = f"layers too: {obstacle}" if obstacle else "layers run in a container"
    text = f"no working KVM: virtual machines are emulated (slow), {layers}"
    return Finding(level="note", subject="accelerator", text=text)


def examine_disk(folder: Path) -> Finding:
    """Free space where the build folder is, or will be."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        return Finding(
            level="lack",
            subject="disk",
            text=f"{there} is a file, no folder can be made there",
            remedy="set build.dir in cube.toml to a folder",
        )
    free_gib = shutil.disk_usage(there).free / GIB
    text = f"{free_gib:.1f} GiB free in {there}"
    if free_gib < DISK_GIB and any(folder.glob("*/chain/*/link.json")):
        text += f": a build that reuses little needs {DISK_GIB} GiB"
        return Finding(level="note", subject="disk", text=text)
    if free_gib < DISK_GIB:
        return Finding(
            level="lack",
            subject="disk",
            text=f"{text}, {DISK_GIB} GiB needed",
            remedy="free some space, or set build.dir in cube.toml to a larger disk",
        )
    return Finding(level="ok", subject="disk", text=text)


def examine_memory(meminfo: Path) -> Finding:
    """Available memory."""
    available = available_memory_gib(meminfo.read_text(encoding="ascii"))
    text = f"{available:.1f} GiB available"
    if available < MEMORY_GIB:
        return Finding(
            level="lack",
            subject="memory",
            text=f"{text}, {MEMORY_GIB} GiB needed",
            remedy="end other programs, or build on a larger machine",
        )
    return Finding(level="ok", subject="memory", text=text)


def available_memory_gib(meminfo: str) -> float:
    """Return MemAvailable of /proc/meminfo."""
    return memory_mib(meminfo, "MemAvailable") / 1024


def require(findings: Iterable[Finding]) -> None:
    """Stop when anything is lacking.

    Raises:
        HostError: what is lacking and how to get it, all of it.
    """
    lacking = [finding for finding in findings if finding.level == "lack"]
    if not lacking:
        return
    rows = "\n".join(f"{f.subject}: {f.text} -> {f.remedy}" for f in lacking)
    message = f"this machine lacks {len(lacking)} of the things a build needs"
    hint = "correct cube.toml" if all(one.asked for one in lacking) else "install them: make setup"
    raise HostError(message, hint=hint, details=rows)


SIGNS: dict[Level, str] = {"ok": "ok  ", "note": "note", "lack": "LACK"}


def lines(findings: Iterable[Finding]) -> list[str]:
    """Return every finding in a line of its own."""
    return [
        f"{SIGNS[f.level]} {f.subject:20} {f.text}{f'  -> {f.remedy}' if f.remedy else ''}"
        for f in findings
    ]
