"""What is at an offset of a disk: a file, the journal, the superblock, the boot sector ..."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cube.disks import shape
from cube.disks.partition import Region
from cube.runtime import run

BLOCK = 4096
#: Inodes without a name. Source: Linux, Documentation/filesystems/ext4/special_inodes.rst.
SPECIAL = {"7": "the group descriptors", "8": "the journal"}


def trace(raw: Path, parts: Sequence[Region], offsets: Sequence[int]) -> list[str]:
    """Name the file or structure at each offset of a disk, in bytes."""
    root = next(part for part in reversed(parts) if part.label == shape.ROOT_LABEL)
    inside = [offset - root.start for offset in offsets if offset >= root.start]
    names = [outside(offset, parts) for offset in offsets if offset < root.start]
    return [*names, *(owners(raw, root.start, inside) if inside else [])]


def outside(offset: int, parts: Sequence[Region]) -> str:
    """Name what holds a byte before the root."""
    for part in parts:
        if part.start <= offset < part.start + part.size:
            return "the EFI system partition" if part.type == "vfat" else part.what
    return "the partition table or boot sector"


def owners(raw: Path, start: int, offsets: Sequence[int]) -> list[str]:
    """Name the files that own bytes of the root's file system.

    Source: debugfs(8), icheck and ncheck: tables of two columns after a line of titles.
    """
    image = f"{raw}?offset={start}"
    blocks = sorted({offset // BLOCK for offset in offsets})
    rows = run.run(["debugfs", "-R", f"icheck {' '.join(map(str, blocks))}", image]).stdout
    inode = dict(row.split("\t", 1) for row in rows.splitlines()[1:] if "\t" in row)
    known = sorted({number for number in inode.values() if number.isdigit()})
    names: dict[str, str] = {}
    if known:
        rows = run.run(["debugfs", "-R", f"ncheck {' '.join(known)}", image]).stdout
        names = dict(row.split("\t", 1) for row in rows.splitlines()[1:] if "\t" in row)
    return [owner(image, block, inode.get(str(block), ""), names) for block in blocks]


def owner(image: str, block: int, inode: str, names: Mapping[str, str]) -> str:
    """Name what has a block: a file, the journal, the file system itself, or nothing any more."""
    if block == 0:
        return "the superblock"
    if inode in names:
        return names[inode].lstrip("/") or "the root folder"
    if inode in SPECIAL:
        return SPECIAL[inode]
    free = "not in use" in run.run(["debugfs", "-R", f"testb {block}", image]).stdout
    what = "a deleted file" if free else "the file system's own data"
    return f"{what} (block {block})"
