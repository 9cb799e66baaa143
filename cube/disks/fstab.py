"""Which file systems a system mounts, as libmount reads its fstab(5)."""

import json
from dataclasses import dataclass
from pathlib import Path

from cube.disks.partition import Region, canonical
from cube.runtime.errors import MachineError
from cube.runtime.namespaces import Cell

#: Source: findmnt(8): 1 when there is no entry.
NONE = 1
#: Names that depend on the machine: of which disk they are is not known.
KERNEL_NAMES = ("/dev/sd", "/dev/vd", "/dev/hd", "/dev/xvd", "/dev/nvme", "/dev/mmcblk")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of fstab: where the file system is, where it goes, and how."""

    source: str
    target: Path
    type: str
    options: tuple[str, ...]

    @property
    def may_be_missing(self) -> bool:
        """Whether the system boots without it."""
        return "nofail" in self.options


def parse(text: str) -> list[Entry]:
    """Read what `findmnt --json` printed of a table; parents come before their children."""
    rows = json.loads(text or '{"filesystems": []}')["filesystems"]
    entries = [
        Entry(
            source=row["source"] or "",
            target=Path(row["target"] or "none"),
            type=row["fstype"] or "auto",
            options=tuple((row["options"] or "").split(",")),
        )
        for row in rows
    ]
    return sorted(entries, key=lambda entry: entry.target)


def read(cell: Cell, file: Path) -> list[Entry]:
    """Return the entries of a table.

    Args:
        cell: in which the file is.
        file: etc/fstab of a mounted root; a file that is not there has no entries.
    """
    argv = ["findmnt", "--json", "--list", "--output", "SOURCE,TARGET,FSTYPE,OPTIONS"]
    return parse(cell.execute([*argv, "--tab-file", file], accept=(0, NONE)).stdout)


def find(entry: Entry, found: list[Region]) -> Region | None:
    """Return what an entry means; None when it is not there and may be missing.

    Raises:
        MachineError: it is not on the disk.
    """
    name = canonical(entry.source)
    for region in found:
        if name in region.names:
            return region
    if entry.may_be_missing:
        return None
    hint = "name a file system of the image, or add the option nofail"
    if entry.source.startswith(KERNEL_NAMES):
        hint = "that name depends on the machine: name it by UUID= or LABEL= (see: blkid)"
    raise MachineError(
        f"etc/fstab names {entry.source} for {entry.target}, which is not on the disk", hint=hint
    )
