"""What is on a disk: its partitions, what they hold, and which of them is the root."""

import json
from dataclasses import dataclass
from pathlib import Path

from cube import shape
from cube.cell import Cell
from cube.errors import CommandError, MachineError

#: File systems that a root may have.
ROOT_TYPES = ("ext4", "xfs")


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A part of the disk, and what blkid(8) finds on it.

    Args:
        start: offset in bytes.
        size: length in bytes.
        uuid: the partition's own identity (PARTUUID).
        tags: TYPE, LABEL, UUID ... of its content.
    """

    start: int
    size: int
    uuid: str
    tags: dict[str, str]

    @property
    def type(self) -> str:
        """File system or other content; empty when nothing is known on it."""
        return self.tags.get("TYPE", "")

    def matches(self, source: str) -> bool:
        """Whether an fstab(5) source such as ``LABEL=cube-root`` means this partition."""
        key, _, value = source.partition("=")
        known = {**self.tags, "PARTUUID": self.uuid}
        return bool(value) and known.get(key, "").lower() == value.strip('"').lower()


def parse_partitions(text: str) -> list[tuple[int, int, str]]:
    """Read `sfdisk --json`: offset in bytes, length in bytes and UUID of each partition."""
    table = json.loads(text)["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    return [
        (part["start"] * sector, part["size"] * sector, part.get("uuid", ""))
        for part in table.get("partitions", [])
    ]


def parse_tags(text: str) -> dict[str, str]:
    """Read `blkid -o export`: one KEY=value a line."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def partitions(cell: Cell, raw: Path) -> list[Partition]:
    """Return what is on a raw disk.

    Raises:
        MachineError: it has no partition table.
    """
    try:
        table = parse_partitions(cell.execute(["sfdisk", "--json", raw]).stdout)
    except CommandError as error:
        raise MachineError(
            f"{raw}: no partition table", hint="the disk holds no image", details=error.output
        ) from error
    return [
        Partition(start=start, size=size, uuid=uuid, tags=_probe(cell, raw, start, size))
        for start, size, uuid in table
    ]


def _probe(cell: Cell, device: Path, start: int, size: int) -> dict[str, str]:
    """Return blkid's tags. Source: blkid(8): exit code 2 means that nothing is recognised."""
    span = ["--offset", str(start), "--size", str(size)]
    argv = ["blkid", "-p", "-o", "export", *span, str(device)]
    return parse_tags(cell.execute(argv, accept=(0, 2)).stdout)


def choose_root(found: list[Partition]) -> Partition | None:
    """Return the partition with the root: the one labelled so, else the last that can be."""
    candidates = [part for part in found if part.type in ROOT_TYPES]
    labelled = [part for part in candidates if part.tags.get("LABEL") == shape.ROOT_LABEL]
    return next(reversed(labelled or candidates), None)


def parse_fstab(text: str) -> list[tuple[str, str]]:
    """Read fstab(5): source and folder of each entry, parents first."""
    lines = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    entries = [(words[0], words[1]) for words in lines if len(words) > 1]
    return sorted(entries, key=lambda entry: entry[1])
