"""The logical volume that holds a box's root, as LVM tells it."""

import json
from dataclasses import dataclass
from typing import Any

from cube.hosts import remote
from cube.hosts.target import Box
from cube.runtime.errors import SnapshotError

#: What our snapshots are called; the layer's number follows.
PREFIX = "cube-before-layer"
#: Words noted with them: kernels whose modules they hold, digest of the record in them.
KERNEL, RECORD = "cube-kernel=", "cube-record="
#: Folders of the system that a layer writes to: a snapshot of the root must hold all of them.
HELD = ("/etc", "/opt", "/usr", "/var", "/var/lib")
#: Layouts of which LVM makes snapshots with a size of their own. Source: lvmraid(7), lvs(8).
LAYOUTS = {"linear", "striped", "raid", "mirror"}

FIELDS = (
    "vg_name,lv_name,lv_dm_path,lv_size,lv_layout,origin,snap_percent,lv_snapshot_invalid,"
    "lv_merging,lv_merge_failed,lv_tags"
)
REPORT = "--reportformat json --units b --nosuffix"
#: Parts the answers to `ASK`; no program prints it.
RULE = "=== cube ==="
#: Everything in one login: the root's device, what is no part of it, volumes and groups.
ASK = f"""
findmnt --json --nofsroot --output SOURCE,FSTYPE --target /
echo '{RULE}'
stat --format '%m %n' {" ".join(HELD)} /boot 2>/dev/null
echo '{RULE}'
if command -v lvs >/dev/null; then
    lvs --all {REPORT} --options {FIELDS}
    echo '{RULE}'
    vgs {REPORT} --options vg_name,vg_free,vg_extent_size
fi
"""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A logical volume.

    Args:
        group: its volume group.
        name: its own.
        node: its device.
        size_bytes: of its data, or of the room for changes of a snapshot.
        layout: words such as ``linear``.
        origin: name of the volume that a snapshot was taken of.
        percent: how full a snapshot is; empty for others.
        invalid: a snapshot overflowed, and is worth nothing.
        merging: it is being merged, or will be at the next start.
        failed: the merge failed.
        tags: words noted with it.
    """

    group: str
    name: str
    node: str
    size_bytes: int
    layout: frozenset[str] = frozenset()
    origin: str = ""
    percent: str = ""
    invalid: bool = False
    merging: bool = False
    failed: bool = False
    tags: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """How LVM's commands call it."""
        return f"{self.group}/{self.name}"

    @property
    def layer(self) -> int:
        """The layer that one of our snapshots was taken before."""
        return int(self.name.removeprefix(PREFIX))

    @property
    def kernels(self) -> set[str]:
        """The kernels whose modules one of our snapshots holds."""
        return {tag.removeprefix(KERNEL) for tag in self.tags if tag.startswith(KERNEL)}

    @property
    def record(self) -> str:
        """Digest of the record of layers in one of our snapshots."""
        return next((tag.removeprefix(RECORD) for tag in self.tags if tag.startswith(RECORD)), "")


@dataclass(frozen=True, kw_only=True)
class Root:
    """The volume of the root, the room beside it, and our snapshots of it, by layer.

    Args:
        volume: the root's.
        free_bytes: free in its group.
        extent_bytes: unit of allocation.
        snapshots: ours, lowest layer first.
        boot_apart: /boot is a file system of its own, which no snapshot of the root holds.
    """

    volume: Volume
    free_bytes: int
    extent_bytes: int
    snapshots: tuple[Volume, ...] = ()
    boot_apart: bool = False


def read_root(box: Box) -> Root:
    """Ask a box for its root.

    Raises:
        SnapshotError: it is not on LVM, or not all of the system is in it.
    """
    device, mounts, *lvm = remote.execute(box, ASK).stdout.split(f"{RULE}\n")
    source = parse_source(device)
    if not source.startswith("/dev/mapper/") or not "".join(lvm):
        raise SnapshotError(
            f"{box.name}: its root is {source}, not a logical volume of LVM",
            hint="apply without --snapshot; nothing was changed",
        )
    apart = parse_mounts(mounts)
    if outside := sorted(apart.intersection(HELD)):
        raise SnapshotError(
            f"{box.name}: {outside[0]} is not part of the root: a snapshot would hold only a part",
            hint="apply without --snapshot; nothing was changed",
        )
    volumes, groups = parse_volumes(lvm[0]), parse_groups(lvm[1])
    return find_root(source, volumes, groups, boot_apart="/boot" in apart)


def find_root(
    source: str, volumes: list[Volume], groups: dict[str, tuple[int, int]], *, boot_apart: bool
) -> Root:
    """Find the root among all volumes.

    Args:
        source: device of the root.
        volumes: every volume.
        groups: free bytes and bytes of an extent of every group.
        boot_apart: /boot is a file system of its own.

    Raises:
        SnapshotError: no volume has this device, or it is of a kind without snapshots.
    """
    found = [volume for volume in volumes if volume.node == source]
    if not found:
        raise SnapshotError(f"no logical volume of LVM is {source}, the root")
    root = found[0]
    if not root.layout & LAYOUTS or "thin" in root.layout:
        kind = ", ".join(sorted(root.layout))
        raise SnapshotError(
            f"the root {root.path} is a volume of the kind {kind}: cube takes no snapshots of it",
            hint="use LVM's own tools",
        )
    ours = [
        volume
        for volume in volumes
        if (volume.group, volume.origin) == (root.group, root.name) and is_ours(volume.name)
    ]
    free, extent = groups[root.group]
    return Root(
        volume=root,
        free_bytes=free,
        extent_bytes=extent,
        boot_apart=boot_apart,
        snapshots=tuple(sorted(ours, key=lambda one: one.layer)),
    )


def is_ours(name: str) -> bool:
    """Tell whether a volume is called like a snapshot of ours."""
    return name.startswith(PREFIX) and name.removeprefix(PREFIX).isdecimal()


def parse_source(text: str) -> str:
    """Read findmnt's answer: the device of the root.

    Raises:
        SnapshotError: it names none.
    """
    try:
        return str(json.loads(text)["filesystems"][0]["source"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise SnapshotError(f"findmnt names no device of the root: {text[:80]!r}") from error


def parse_mounts(text: str) -> set[str]:
    """Read ``mount-point folder`` lines: the folders that are not on the root's file system."""
    rows = [line.split(" ", 1) for line in text.splitlines()]
    return {folder for mount, folder in rows if mount != "/"}


def parse_volumes(text: str) -> list[Volume]:
    """Read the report of lvs.

    Raises:
        SnapshotError: it is no such report.
    """
    return [
        Volume(
            group=row["vg_name"],
            name=row["lv_name"].strip("[]"),  # brackets: hidden while it is merged
            node=row["lv_dm_path"],
            size_bytes=int(row["lv_size"]),
            layout=frozenset(row["lv_layout"].split(",")),
            origin=row["origin"],
            percent=row["snap_percent"],
            invalid=row["lv_snapshot_invalid"] == "snapshot invalid",
            merging=row["lv_merging"] == "merging",
            failed=row["lv_merge_failed"] == "merge failed",
            tags=tuple(filter(None, row["lv_tags"].split(","))),
        )
        for row in rows(text, "lv", FIELDS)
    ]


def parse_groups(text: str) -> dict[str, tuple[int, int]]:
    """Read the report of vgs: free bytes and bytes of an extent of every group.

    Raises:
        SnapshotError: it is no such report.
    """
    fields = "vg_name,vg_free,vg_extent_size"
    return {
        row["vg_name"]: (int(row["vg_free"]), int(row["vg_extent_size"]))
        for row in rows(text, "vg", fields)
    }


def rows(text: str, kind: str, fields: str) -> list[dict[str, str]]:
    """Return the rows of one of LVM's JSON reports, each with all of its fields as text.

    Raises:
        SnapshotError: it is no such report.
    """
    try:
        found: list[dict[str, Any]] = json.loads(text)["report"][0][kind]
        return [{name: str(row[name]) for name in fields.split(",")} for row in found]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise SnapshotError(f"LVM's report cannot be read ({error}): {text[:80]!r}") from error
