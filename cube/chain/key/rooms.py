"""What the base and the image are made from: rooms of this project, each as a whole."""

import functools
import re
from pathlib import Path

from cube.chain.key.sources import tree
from cube.config import OsName
from cube.runtime import run
from cube.runtime.errors import CommandError

#: The room of the bare OS; it has one for each system, and all the rest is for both.
BASE_ROOM = "cube/baseimage"
SYSTEMS: dict[OsName, str] = {"debian-13": "debian", "ubuntu-24.04": "ubuntu"}
#: What shapes a bare OS from other rooms: the disk, the mirrors, the seed, files of ours, proof.
BASE_PARTS = (
    "cube/config/mirrors.py",
    "cube/disks/gpt.py",
    "cube/disks/loop.py",
    "cube/disks/lvm.py",
    "cube/disks/presets.py",
    "cube/disks/shape.py",
    "cube/machines/seed.py",
    "cube/supply/trust.py",
    "deploy/files/common/cube-grow-root",
    "deploy/files/common/cube-grow-root.service",
    "guest/cube_boot_loader.py",
    "packer/prove.py",
)
#: The programs that make a bare OS: another version may make another one.
BASE_PROGRAMS: dict[OsName, tuple[str, ...]] = {
    "debian-13": ("mmdebstrap", "packer", "qemu-system-x86_64"),
    "ubuntu-24.04": ("packer", "qemu-system-x86_64"),
}
#: What seals and proves an image: the seal, the disks that it writes, the checks, their runner.
IMAGE_PARTS = (
    "checks",
    "cube/build/finalize.py",
    "cube/config/mirrors.py",
    "cube/disks",
    "cube/provision/pytest_run.py",
    "cube/runtime/check_report.py",
    "cube/seal",
)


def base_files(project: Path, os_name: OsName) -> list[Path]:
    """Return every file that makes the bare OS of a system."""
    room = project / BASE_ROOM
    others = [room / system for name, system in SYSTEMS.items() if name != os_name]
    own = [path for path in tree(room) if not any(map(path.is_relative_to, others))]
    parts = [path for part in BASE_PARTS for path in tree(project / part)]
    return [*own, *parts, *tree(project / "packer" / os_name)]


def image_files(project: Path) -> list[Path]:
    """Return every file that seals and proves an image."""
    return [path for part in IMAGE_PARTS for path in tree(project / part)]


def base_programs(os_name: OsName) -> dict[str, str]:
    """Return the versions of the programs that make the bare OS of a system, by name."""
    return {program: version(program) for program in BASE_PROGRAMS[os_name]}


@functools.cache
def version(program: str) -> str:
    """Return a program's version, "7.2.11"; "absent" where it is not installed."""
    try:
        said = run.run([program, "--version"], timeout_s=30).stdout
    except CommandError:
        return "absent"
    found = re.search(r"\d+(\.\d+)+", said)
    return found[0] if found else "unknown"
