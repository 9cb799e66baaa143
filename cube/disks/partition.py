"""What is on a disk: its partitions and logical volumes, what they hold, and which is the root."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cube.disks import loop, lvm, shape
from cube.runtime.errors import CommandError, MachineError
from cube.runtime.namespaces import Cell

#: File systems that a root may have.
ROOT_TYPES = ("ext4", "xfs")
#: What blkid calls a partition that holds logical volumes.
LVM_MEMBER = "LVM2_member"


@dataclass(frozen=True, kw_only=True)
class Region:
    """A range of the disk that can hold a file system: a partition, or a logical volume.

    Args:
        start: offset in bytes.
        size: length in bytes.
        what: what people call it: "partition 2", "volume cube/root".
        tags: what blkid found on it, by udev's names: ID_FS_TYPE, ID_FS_LABEL_ENC ...
        names: other names by which fstab(5) may mean it, see `names_of`.
        obstacle: why its bytes cannot be read as one range; empty when they can.
    """

    start: int
    size: int
    what: str
    tags: dict[str, str]
    names: frozenset[str] = frozenset()
    obstacle: str = ""

    @property
    def type(self) -> str:
        """File system or other content; empty when nothing is known on it."""
        return self.tags.get("ID_FS_TYPE", "")

    @property
    def label(self) -> str:
        """Label of the file system; what a label must not hold is escaped as udev does."""
        return self.tags.get("ID_FS_LABEL_ENC", "")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A row of a partition table: start and size in bytes, UUID and name of the partition."""

    start: int
    size: int
    uuid: str
    name: str


def parse_partitions(text: str) -> list[Slot]:
    """Read what `sfdisk --json` printed of a table."""
    table = json.loads(text)["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    return [
        Slot(
            start=part["start"] * sector,
            size=part["size"] * sector,
            uuid=part.get("uuid", ""),
            name=part.get("name", ""),
        )
        for part in table.get("partitions", [])
    ]


def parse_tags(text: str) -> dict[str, str]:
    """Read `blkid -o udev`: one KEY=value a line."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def names_of(tags: dict[str, str], **more: str) -> frozenset[str]:
    """Return what fstab(5) may call a file system: tags, and the links that udev makes.

    Source: fstab(5), "The first field"; systemd's rules.d/60-persistent-storage.rules.

    Args:
        tags: see `Region`.
        more: partuuid and partlabel of a partition; mapper, path and dm_uuid of a volume.
    """
    uuid, label = tags.get("ID_FS_UUID_ENC", ""), tags.get("ID_FS_LABEL_ENC", "")
    pairs = {"uuid": uuid, "label": label}
    pairs |= {key: more.get(key, "") for key in ("partuuid", "partlabel")}
    found = {f"{key.upper()}={value}" for key, value in pairs.items() if value}
    found |= {f"/dev/disk/by-{key}/{value}" for key, value in pairs.items() if value}
    if mapper := more.get("mapper"):
        found |= {f"/dev/mapper/{mapper}", f"/dev/disk/by-id/dm-name-{mapper}", more["path"]}
        found.add(f"/dev/disk/by-id/dm-uuid-LVM-{more['dm_uuid']}")
    return frozenset(folded(name) for name in found)


def canonical(source: str) -> str:
    """Return a source of fstab(5) as `names_of` has it: no quotes, escaped as udev does."""
    source = source.strip('"')
    key, equals, value = source.partition("=")
    if equals and not key.startswith("/"):
        source = f"{key}={encoded(value.strip(chr(34)))}"
    return folded(source)


def folded(name: str) -> str:
    """Return a name with its UUID, if it is one, in small letters."""
    found = re.match(r"(PART)?UUID=|/dev/disk/by-(part)?uuid/", name)
    return f"{found[0]}{name[found.end() :].lower()}" if found else name


def encoded(value: str) -> str:
    r"""Escape what must not stand in a device's name: a blank becomes ``\x20``.

    Source: libblkid, blkid_encode_string(3).
    """
    plain = re.compile(r"[^A-Za-z0-9#+\-.:=@_\x80-\U0010ffff]")
    return plain.sub(lambda found: f"\\x{ord(found[0]):02x}", value)


def regions(cell: Cell, raw: Path) -> list[Region]:
    """Return what is on a raw disk; a partition with logical volumes is followed by these.

    Raises:
        MachineError: it has no partition table, or its volumes cannot be read.
    """
    try:
        table = parse_partitions(cell.execute(["sfdisk", "--json", raw]).stdout)
    except CommandError as error:
        raise MachineError(
            f"{raw}: no partition table", hint="the disk holds no image", details=error.output
        ) from error
    found: list[Region] = []
    for number, slot in enumerate(table, start=1):
        tags = _probe(cell, raw, slot.start, slot.size)
        part = Region(
            start=slot.start,
            size=slot.size,
            what=f"partition {number}",
            tags=tags,
            names=names_of(tags, partuuid=slot.uuid, partlabel=encoded(slot.name)),
        )
        found += [part, *(_volumes(cell, raw, part) if part.type == LVM_MEMBER else [])]
    return found


def _volumes(cell: Cell, raw: Path, part: Region) -> Iterable[Region]:
    """Yield the logical volumes of a partition."""
    argv = loop.attach_args(raw, offset=part.start, size=part.size, writable=False)
    device = cell.execute(argv).stdout.strip()
    try:
        volumes = lvm.volumes(lambda words: cell.execute(words).stdout, device)
    finally:
        cell.execute(["losetup", "--detach", device])
    for volume in volumes:
        start = part.start + volume.start
        tags = {} if volume.obstacle else _probe(cell, raw, start, volume.size)
        path = f"/dev/{volume.group}/{volume.name}"
        yield Region(
            start=start,
            size=volume.size,
            what=f"volume {volume.group}/{volume.name}",
            tags=tags,
            names=names_of(tags, mapper=volume.mapper, path=path, dm_uuid=volume.uuid),
            obstacle=volume.obstacle,
        )


def _probe(cell: Cell, device: Path, start: int, size: int) -> dict[str, str]:
    """Return blkid's tags. Source: blkid(8): exit code 2 means that nothing is recognised."""
    span = ["--offset", str(start), "--size", str(size)]
    argv = ["blkid", "-p", "-o", "udev", *span, str(device)]
    return parse_tags(cell.execute(argv, accept=(0, 2)).stdout)


def choose_root(found: list[Region], disk: Path) -> Region:
    """Return what holds the root: the one that is labelled so, else the last that can be.

    Raises:
        MachineError: there is none, or it may be on a volume that cannot be read.
    """
    candidates = [part for part in found if part.type in ROOT_TYPES]
    for part in reversed(candidates):
        if part.label == shape.ROOT_LABEL:
            return part
    for part in found:
        if part.obstacle:
            raise MachineError(
                f"{disk}: {part.what} cannot be mounted without a device mapper: {part.obstacle}",
                hint="only a linear volume of one segment can; boot the disk with machine = 'vm'",
            )
    if not candidates:
        kinds = ", ".join(f"{part.what} ({part.type or 'unknown'})" for part in found)
        raise MachineError(
            f"{disk}: no root file system (one of {', '.join(ROOT_TYPES)}) among: "
            f"{kinds or 'no partitions'}",
            hint="the disk holds no image of ours, or its root is encrypted",
        )
    return candidates[-1]
