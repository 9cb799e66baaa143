"""Taking layers back: a snapshot of the root is merged into it at a restart."""

import re
import time
from dataclasses import dataclass

from cube.config import Spec
from cube.hosts import record, remote, restart, volumes
from cube.hosts.record import Record
from cube.hosts.target import Box, find
from cube.hosts.volumes import Root, Volume
from cube.runtime import log
from cube.runtime.errors import MachineError, SnapshotError

#: Seconds until a merge must have ended once the box is up, and between two looks at it.
MERGE_S = 3600.0
LOOK_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A box whose root is an older one again.

    Args:
        box: its name.
        snapshot: what was merged into the root.
        before: number of the layer that it was taken before.
        record: what the box claims now.
    """

    box: str
    snapshot: str
    before: int
    record: Record

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "box": self.box,
            "snapshot": self.snapshot,
            "before": self.before,
            "layers": list(self.record.layers),
        }

    def summary(self) -> str:
        """Return it for a person."""
        return (
            f"{self.box} is as it was before layer {self.before} was applied;"
            f" it claims {self.record.summary}"
        )


def rollback(spec: Spec, host: str, layer: str) -> Restored:
    """Bring a box back to what it was before the layers above one were applied.

    The snapshot of the lowest of those is merged into the root, which takes a restart; what was
    written to the root since it was taken is lost.

    Args:
        spec: names hosts.
        host: a word that names the box.
        layer: the highest that stays: "base", "layer1" ...

    Raises:
        SnapshotError: there is no such snapshot, it overflowed, or the root is not the old one
            afterwards.
        MachineError: the box does not answer, or did not come back.
    """
    number = number_of(layer)
    box = remote.reach(find(spec, host))
    root = volumes.read_root(box)
    chosen = choose(box, root, number)
    refuse_other_kernel(box, root, chosen)
    with log.step(f"Merging {chosen.path} into the root of {box.name}"):
        schedule(box, root, chosen)
    with log.step(f"Restarting {box.name}"):
        restart.restart(box)
    with log.step("Waiting for the end of the merge"):
        wait_for_merge(box, chosen)
    return Restored(
        box=box.name, snapshot=chosen.name, before=chosen.layer, record=prove(box, chosen)
    )


def number_of(layer: str) -> int:
    """Return a layer's number; 0 for the base.

    Raises:
        SnapshotError: a snapshot is not found by such a word.
    """
    match = re.fullmatch(r"base|layer([1-5])", layer)
    if not match:
        raise SnapshotError(
            f"{layer!r} is not a layer that a host can roll back to",
            hint="write base or layer1 ... layer4",
        )
    return int(match[1] or 0)


def choose(box: Box, root: Root, number: int) -> Volume:
    """Return the snapshot of the lowest layer above one.

    Raises:
        SnapshotError: there is none, it overflowed, or another one is being merged.
    """
    above = [one for one in root.snapshots if one.layer > number]
    merging = [one for one in root.snapshots if one.merging]
    if not above:
        there = ", ".join(one.name for one in root.snapshots) or "none"
        raise SnapshotError(
            f"{box.name} has no snapshot from before a layer above {number} (there: {there})",
            hint="cube apply --snapshot takes one before each layer",
        )
    chosen = above[0]
    if merging and merging[0] != chosen:
        raise SnapshotError(
            f"{box.name}: {merging[0].name} is already being merged",
            hint=f"finish that first: cube rollback {box.name} {below(merging[0])}",
        )
    if chosen.invalid or chosen.failed:
        raise SnapshotError(
            f"{box.name}: the snapshot {chosen.path} overflowed and cannot be used",
            hint=f"remove it: lvremove {chosen.path}; take the next ones with --snapshot-size",
        )
    return chosen


def below(snapshot: Volume) -> str:
    """Return the layer that a snapshot goes back to, as `number_of` reads it."""
    return f"layer{snapshot.layer - 1}" if snapshot.layer > 1 else "base"


def refuse_other_kernel(box: Box, root: Root, chosen: Volume) -> None:
    """Refuse a merge that would leave the kernel that boots without its modules.

    A /boot of its own is not part of the snapshot: a kernel that came since stays in it.

    Raises:
        SnapshotError: the newest kernel is such a one.
    """
    if not root.boot_apart:
        return
    listed = remote.execute(box, "ls /boot/vmlinuz-* | sort -V").stdout.split()
    newest = listed[-1].removeprefix("/boot/vmlinuz-") if listed else ""
    if newest not in chosen.kernels:
        raise SnapshotError(
            f"{box.name}: /boot is not part of the snapshot and holds the kernel {newest}, whose"
            " modules the snapshot lacks: the host would not boot",
            hint=f"remove that kernel first: apt-get purge linux-image-{newest}",
        )


def schedule(box: Box, root: Root, chosen: Volume) -> None:
    """Have a snapshot merged at the next start, and remove those that were taken after it.

    Raises:
        CommandError: LVM refuses.
    """
    if not chosen.merging:
        remote.execute(box, f"lvconvert --yes --merge {chosen.path}")
    later = [one.path for one in root.snapshots if one.layer > chosen.layer]
    if later:
        remote.execute(box, f"lvremove --yes {' '.join(later)}")


def wait_for_merge(box: Box, chosen: Volume) -> None:
    """Wait until the snapshot is gone, which it is when all of it is in the root.

    Raises:
        MachineError: that takes too long.
        SnapshotError: the merge failed.
    """
    root = volumes.read_root(box).volume
    # The start of a system activates the root without following the merge.
    # Source: lvchange(8), --sysinit and --poll.
    remote.execute(box, f"lvchange --poll y {root.path}", accept=range(256))
    started = time.monotonic()
    while time.monotonic() - started < MERGE_S:
        left = [one for one in volumes.read_root(box).snapshots if one.name == chosen.name]
        if not left:
            return
        if left[0].failed or left[0].invalid:
            raise SnapshotError(
                f"{box.name}: merging {chosen.path} failed",
                hint="look at: journalctl -k, lvs --all",
            )
        log.status(f"{left[0].percent} % of {chosen.name} are left to merge")
        time.sleep(LOOK_S)
    raise MachineError(
        f"{box.name}: {chosen.path} is not merged after {MERGE_S:.0f} s", hint="look at: lvs --all"
    )


def prove(box: Box, chosen: Volume) -> Record:
    """Make sure that the root is the one of the snapshot, by the record of layers in it.

    Raises:
        SnapshotError: it is not.
    """
    found = record.read(box)
    if found.digest != chosen.record:
        raise SnapshotError(
            f"{box.name} restarted, but its root is not the one of {chosen.path}: it claims"
            f" {found.summary}",
            hint=f"compare it with its layers: cube drift {box.name}",
        )
    return found
