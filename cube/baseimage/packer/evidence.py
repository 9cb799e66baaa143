"""What a disk says for itself, read from the raw file: nothing is mounted or booted."""

import json
from collections.abc import Iterator
from pathlib import Path

from cube.disks import shape
from cube.runtime import run
from cube.runtime.errors import CommandError, PackerError

#: File in which the guest leaves the nonce, written by packer/prove.py and late-commands.
MARKER = "/var/lib/cube/base"
#: A logical volume's data starts here when the group has one volume in one piece.
#: Source: lvm.conf(5), default_data_alignment (1 MiB).
LVM_DATA = 1024 * 1024


def root_offsets(disk: Path) -> Iterator[int]:
    """Yield where the root may begin, in bytes: the last partition, or the LVM inside it.

    Raises:
        PackerError: there is no disk, or it has no partitions.
    """
    if not disk.is_file():
        raise unproven(f"there is no disk {disk}")
    try:
        table = json.loads(run.run(["sfdisk", "--json", disk]).stdout)["partitiontable"]
        start = table["partitions"][-1]["start"] * table.get("sectorsize", 512)
    except (CommandError, LookupError) as error:
        raise unproven(f"{disk} has no partition table") from error
    yield from (start, start + LVM_DATA)


def read_superblock(disk: Path, offset: int) -> dict[str, str]:
    """Return what dumpe2fs says of the file system at an offset; nothing when there is none."""
    done = run.run(["dumpe2fs", "-h", f"{disk}?offset={offset}"], accept=(0, 1))
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def check(disk: Path, nonce: str) -> None:
    """Believe a disk only if its root was unmounted cleanly and holds this build's nonce.

    Raises:
        PackerError: it does not prove itself, with what it says instead.
    """
    for offset in root_offsets(disk):
        found = read_superblock(disk, offset)
        if found.get("Filesystem volume name") != shape.ROOT_LABEL:
            continue
        if (
            found.get("Filesystem state") != "clean"
            or "needs_recovery" in found["Filesystem features"]
        ):
            raise unproven("its root was not unmounted: the guest did not shut down")
        marker = read_file(disk, offset, MARKER)
        if marker != nonce:
            raise unproven(f"{MARKER} holds {marker!r}, not this build's mark")
        return
    raise unproven(f"it has no file system labelled {shape.ROOT_LABEL}")


def read_file(disk: Path, offset: int, path: str) -> str:
    """Return a small text file of an ext4 file system; empty when it is not there."""
    return run.run(["debugfs", "-R", f"cat {path}", f"{disk}?offset={offset}"]).stdout.strip()


def unproven(why: str) -> PackerError:
    """Say that Packer reported success over a disk that does not bear it out."""
    return PackerError(
        f"packer exited with 0, but the image failed verification: {why}",
        hint="QEMU or the guest was killed: look at the console's last lines, and build again",
    )
