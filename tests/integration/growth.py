"""A disk of a container that is larger than its base, its root file system grown with it.

A container does not grow its own root: `cube-grow-root` is for machines that have a disk.
"""

from pathlib import Path

from cube.disks import fuse_export, qcow2
from cube.runtime.namespaces import open_cell

#: The root file system is in the last partition. Source: cube.disks.gpt.partition_table.
PARTITION = 3

#: Source: sfdisk(8), --relocate and --partno; resize2fs(8): a file system that is not mounted
#: must have been checked. A mounted one could grow only by a root with CAP_SYS_RESOURCE.
GROW = f"""
set -e
sfdisk --relocate gpt-bak-std "$1"
echo ', +' | sfdisk --no-reread --partno {PARTITION} "$1"
set -- "$1" $(partx --noheadings --output START,SECTORS --nr {PARTITION} "$1")
loop=$(losetup --find --show --offset $(($2 * 512)) --sizelimit $(($3 * 512)) "$1")
trap 'blockdev --flushbufs "$loop"; sync "$1"; losetup --detach "$loop"' EXIT
e2fsck -fp "$loop" || [ $? -eq 1 ]
resize2fs "$loop"
e2fsck -fn "$loop"
"""


def create_roomy(overlay: Path, base: Path, size_bytes: int) -> None:
    """Make an overlay whose root file system fills it."""
    qcow2.create_overlay(overlay, base, size_bytes=size_bytes)
    folder = overlay.parent / "growth"
    folder.mkdir()
    cell = open_cell(folder / "cell.log")
    try:
        shown = fuse_export.export(cell, overlay, folder, writable=True)
        cell.execute(["sh", "-c", GROW, "sh", shown.raw])
        shown.close()
    finally:
        cell.close()
