"""Snapshots of a box's root: taken before a layer, watched while they fill up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cube.hosts import record, remote, volumes
from cube.hosts.rollback import rollback
from cube.hosts.target import Box
from cube.hosts.volumes import KERNEL, PREFIX, RECORD, Root, Volume
from cube.runtime import log, units
from cube.runtime.errors import SnapshotError

__all__ = ["Plan", "drop", "plan", "rollback", "take", "warn_of_overflow"]

MIB = 1024 * 1024
#: Of the root, as much as one layer may change when nothing else is said.
SHARE = 0.2
#: A smaller snapshot would overflow in any layer that installs a package.
LEAST_BYTES = 256 * MIB

#: Layer 1 grows the root into all of its group at every start. On a box with snapshots that stops:
#: the room is theirs, and LVM refuses to grow a volume that has some.
#: Source: systemd.service(5), ExecCondition; lvextend(8).
KEEP_ROOM = """
file=/etc/systemd/system/cube-grow-root.service.d/50-cube-snapshots.conf
[ -e $file ] && exit 0
mkdir -p ${file%/*}
echo '# By cube apply --snapshot: the room in the volume group is for snapshots.' >$file
echo '[Service]' >>$file
echo 'ExecCondition=/bin/false' >>$file
systemctl daemon-reload
"""
#: What LVM takes for a tag. Source: lvm(8), "Tags".
TAG = re.compile(r"[A-Za-z0-9_+.\-/=!:&#]+")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Snapshots that will be taken: one before each layer, of so many extents each."""

    root: Root
    extents: int


def plan(box: Box, layers: Sequence[int], *, size_mib: int = 0) -> Plan:
    """Make sure that there is room for a snapshot before each layer; nothing is changed.

    Raises:
        SnapshotError: the root is not on LVM, there is no room, or a rollback is under way.
    """
    root = volumes.read_root(box)
    if root.volume.merging:
        raise SnapshotError(
            f"{box.name}: a snapshot is being merged into {root.volume.path}",
            hint=f"finish that first: cube rollback {box.name} LAYER",
        )
    return Plan(root=root, extents=share_room(root, layers, size_mib=size_mib))


def share_room(root: Root, layers: Sequence[int], *, size_mib: int = 0) -> int:
    """Return the extents of each snapshot.

    Args:
        root: with the room that it has.
        layers: that are applied; their older snapshots, and those of higher layers, make room.
        size_mib: what the user wants; 0 takes a share of the root, as far as there is room.

    Raises:
        SnapshotError: there is no room.
    """
    replaced = [one.size_bytes for one in root.snapshots if one.layer >= min(layers)]
    room = root.free_bytes + sum(replaced)
    wanted = size_mib * MIB or min(int(root.volume.size_bytes * SHARE), room // len(layers))
    extents = -(-wanted // root.extent_bytes) if size_mib else wanted // root.extent_bytes
    each = extents * root.extent_bytes
    if each * len(layers) > room or (not size_mib and each < LEAST_BYTES):
        least = each if size_mib else LEAST_BYTES
        raise SnapshotError(
            f"the volume group {root.volume.group} has {units.size(room)} free:"
            f" {len(layers)} snapshots of {units.size(least)} do not fit",
            hint="apply fewer layers at once (--layers), say --snapshot-size, or enlarge the"
            " group; nothing was changed",
        )
    return extents


def take(box: Box, chosen: Plan, layer: int) -> Volume:
    """Take the snapshot before a layer.

    Older ones of this layer and of those above are removed: they hold a state that is older
    than what is now below them.

    Raises:
        CommandError: LVM refuses.
    """
    root = volumes.read_root(box)
    old = [one for one in root.snapshots if one.layer >= layer]
    if old:
        names = ", ".join(one.name for one in old)
        log.info(f"{box.name}: removing older snapshots to free space: {names}")
        remote.execute(box, f"lvremove --yes {' '.join(one.path for one in old)}")
    remote.execute(box, KEEP_ROOM)
    name = f"{PREFIX}{layer}"
    tags = "".join(f" --addtag {tag}" for tag in make_tags(box))
    remote.execute(
        box,
        f"lvcreate --yes --snapshot --name {name} --extents {chosen.extents}{tags}"
        f" {root.volume.path}",
    )
    size = units.size(chosen.extents * root.extent_bytes)
    log.info(f"{box.name}: snapshot {root.volume.group}/{name}, room for {size} of changes")
    return next(one for one in volumes.read_root(box).snapshots if one.name == name)


def make_tags(box: Box) -> list[str]:
    """Return what a rollback must know of the present state."""
    kernels = remote.execute(box, "ls /lib/modules").stdout.split()
    tags = [f"{RECORD}{record.read(box).digest}", *(f"{KERNEL}{name}" for name in kernels)]
    return [tag for tag in tags if TAG.fullmatch(tag)]


def drop(box: Box, snapshot: Volume) -> None:
    """Remove a snapshot that is not needed: its layer was skipped."""
    remote.execute(box, f"lvremove --yes {snapshot.path}")


def warn_of_overflow(box: Box, snapshots: Sequence[Volume]) -> list[str]:
    """Say which snapshots have become worthless; return their names."""
    names = {one.name for one in snapshots}
    lost = [one for one in volumes.read_root(box).snapshots if one.name in names and one.invalid]
    for one in lost:
        log.warning(
            f"{box.name}: the snapshot {one.path} overflowed and cannot be used: layer"
            f" {one.layer} cannot be rolled back (next time: --snapshot-size)"
        )
    return [one.name for one in lost]
