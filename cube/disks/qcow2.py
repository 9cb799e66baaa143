"""qcow2 disks: overlays, sizes, conversion, integrity."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.runtime import run
from cube.runtime.errors import CommandError, MachineError

#: Seconds for an operation that reads or writes a whole image.
WHOLE_IMAGE_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class DiskInfo:
    """What qemu-img knows of a disk.

    Args:
        format: qcow2, raw ...
        virtual_bytes: size that a guest sees.
        actual_bytes: space taken on this machine.
        backing: the file below it in its chain, absolute; None at the bottom.
        compression: codec of compressed clusters; empty when the format has none.
    """

    format: str
    virtual_bytes: int
    actual_bytes: int
    backing: Path | None
    compression: str


def overlay_args(disk: Path, backing: Path, *, backing_format: str = "qcow2") -> list[str]:
    """Build the command that makes an overlay; clusters are allocated as they are written.

    A relative `backing` is relative to the folder of `disk`, now and whenever it is opened.
    """
    return [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        backing_format,
        "-b",
        str(backing),
        str(disk),
    ]


def flat_args(source: Path, target: Path) -> list[str]:
    """Build the command that writes a disk with its chain as one file, not compressed."""
    return ["qemu-img", "convert", "-O", "qcow2", str(source), str(target)]


def compare_args(one: Path, other: Path) -> list[str]:
    """Build the command that compares what guests see of two disks."""
    return ["qemu-img", "compare", str(one), str(other)]


def resize_args(disk: Path, size_bytes: int) -> list[str]:
    """Build the command that changes the virtual size; it refuses to shrink."""
    return ["qemu-img", "resize", "-q", "-f", "qcow2", str(disk), str(size_bytes)]


def check_args(disk: Path) -> list[str]:
    """Build the command that checks a qcow2 file's own structure."""
    return ["qemu-img", "check", "-q", "-f", "qcow2", str(disk)]


def info_args(disk: Path) -> list[str]:
    """Build the command that describes a disk, even one that is in use."""
    return ["qemu-img", "info", "--force-share", "--output=json", str(disk)]


def create_overlay(disk: Path, backing: Path, *, size_bytes: int = 0) -> None:
    """Make a fresh overlay, replacing what has its name.

    Args:
        disk: the overlay.
        backing: qcow2 file below it; it is only read. A relative path is one from the folder
            of `disk`, and stays so: both can move together.
        size_bytes: virtual size; 0 keeps the backing file's.

    Raises:
        MachineError: the backing file is missing or no qcow2.
    """
    disk.unlink(missing_ok=True)
    argv = overlay_args(disk, backing)
    if size_bytes:
        argv.append(str(size_bytes))
    try:
        run.run(argv)
    except CommandError as error:
        raise MachineError(
            f"{disk}: no overlay could be made over {backing}", details=error.output
        ) from error


def resize(disk: Path, size_bytes: int) -> None:
    """Enlarge a disk.

    Raises:
        CommandError: it would shrink, or the file is no qcow2.
    """
    run.run(resize_args(disk, size_bytes))


def check(disk: Path) -> None:
    """Prove that a qcow2 file's structure is whole.

    Source: qemu-img(1), check: exit code 3 is leaked clusters, which harm nobody.

    Raises:
        MachineError: it is corrupt.
    """
    try:
        run.run(check_args(disk), accept=(0, 3), timeout_s=WHOLE_IMAGE_S)
    except CommandError as error:
        raise MachineError(
            f"{disk}: the qcow2 file is corrupt", hint="build it again", details=error.output
        ) from error


def compare(disk: Path, copy: Path) -> None:
    """Prove that a copy reads as the disk does. Source: qemu-img(1), compare, exit codes.

    Raises:
        MachineError: it does not.
        CommandError: one of both cannot be read, or it took too long.
    """
    done = run.run(compare_args(disk, copy), accept=(0, 1), timeout_s=WHOLE_IMAGE_S)
    if done.returncode:
        raise MachineError(
            f"{copy}: does not have the same content as {disk}",
            hint="check this machine's memory and disk, then build again",
            details=run.tail(done.stdout + done.stderr),
        )


def chain_of(disk: Path) -> Iterator[Path]:
    """Yield a disk and every file below it."""
    link: Path | None = disk
    while link is not None:
        yield link
        link = info(link).backing


def info(disk: Path) -> DiskInfo:
    """Describe a disk.

    Raises:
        MachineError: there is no readable image.
    """
    try:
        text = run.run(info_args(disk)).stdout
    except CommandError as error:
        raise MachineError(f"{disk}: not a readable disk image", details=error.output) from error
    return parse_info(text)


def parse_info(text: str) -> DiskInfo:
    """Read what `qemu-img info --output=json` printed."""
    data = json.loads(text)
    backing = data.get("full-backing-filename") or data.get("backing-filename")
    specific = data.get("format-specific", {}).get("data", {})
    return DiskInfo(
        format=data["format"],
        virtual_bytes=data["virtual-size"],
        actual_bytes=data["actual-size"],
        backing=Path(backing) if backing else None,
        compression=specific.get("compression-type", ""),
    )


def virtual_bytes(disk: Path) -> int:
    """Return the size that a guest sees."""
    return info(disk).virtual_bytes


def sync(disk: Path) -> None:
    """Put every byte of the file on the medium."""
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
