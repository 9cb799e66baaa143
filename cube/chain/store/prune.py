"""Removing links that nobody needs any more."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cube.chain.store import space
from cube.chain.store.link import Link
from cube.chain.store.links import Store
from cube.chain.store.table import in_use
from cube.disks import qcow2
from cube.machines import record
from cube.runtime import log, units
from cube.runtime.errors import ChainError, CubeError


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What may stay; None says nothing about it.

    Args:
        keep: so many of the newest chains.
        max_bytes: so much space.
    """

    keep: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was removed, or would be."""

    links: tuple[Link, ...]
    freed_bytes: int
    left_bytes: int

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        removed = [{"name": link.name, "key": link.key} for link in self.links]
        return {"removed": removed, "freed_bytes": self.freed_bytes, "left_bytes": self.left_bytes}


def prune(store: Store, machines: Path, rule: Rule) -> Pruned:
    """Remove links; the caller holds the build lock.

    Args:
        store: the links.
        machines: folder of the machines that may be up.
        rule: what may stay.

    Raises:
        BusyError: another command reads the store.
        MachineError: the disk of a machine that is up cannot be read.
    """
    store.prepare()
    with store.alone():
        found = choose(store, machines, rule)
        store.bury(found.links)
    return found


def choose(store: Store, machines: Path, rule: Rule) -> Pruned:
    """Decide what a rule removes; nothing is removed.

    Raises:
        MachineError: the disk of a machine that is up cannot be read.
    """
    links = store.links()
    needed = {link.key for link in in_use(store)} | used(links, machines)
    doomed = [] if rule.keep is None else outlived(store, links, rule.keep, needed)
    if rule.max_bytes is not None:
        doomed += largest(links, doomed, rule.max_bytes, needed)
    freed = space.total_bytes(doomed)
    return Pruned(
        links=tuple(doomed), freed_bytes=freed, left_bytes=space.total_bytes(links) - freed
    )


def require(found: Pruned, rule: Rule) -> None:
    """Refuse to call it done when the store is still too large.

    Raises:
        CubeError: it is.
    """
    if rule.max_bytes is not None and found.left_bytes > rule.max_bytes:
        raise CubeError(
            f"{units.size(found.left_bytes)} are left, more than {units.size(rule.max_bytes)}:"
            " the head stands on them, or a machine that is up",
            hint="cube down, if a machine is up; else allow more",
        )


def outlived(store: Store, links: Sequence[Link], keep: int, needed: Collection[str]) -> list[Link]:
    """Return the links that are in none of the newest whole chains, and not needed."""
    staying = set(needed)
    for top in newest(store, links)[:keep]:
        staying.update(link.key for link in store.lineage(top))
    return [link for link in links if not stays(link, staying)]


def newest(store: Store, links: Sequence[Link]) -> list[Link]:
    """Return the top of every whole chain, newest first."""
    parents = {link.parent for link in links if not link.skipped}
    tops = [link for link in links if not link.skipped and link.key not in parents]
    return [top for top in reversed(tops) if whole(store, top)]


def whole(store: Store, top: Link) -> bool:
    """Tell whether everything below a link is there."""
    try:
        store.lineage(top)
    except ChainError as error:
        log.debug(error.message)
        return False
    return True


def stays(link: Link, staying: Collection[str]) -> bool:
    """Tell whether a link stays; a skipped layer goes with what it was skipped on."""
    return (link.parent if link.skipped else link.key) in staying


def largest(
    links: Sequence[Link], doomed: Sequence[Link], max_bytes: int, needed: Collection[str]
) -> list[Link]:
    """Return the oldest links that nothing stands on and nobody needs, until the rest fits."""
    gone = {link.key for link in doomed}
    left, found = [link for link in links if link.key not in gone], list[Link]()
    while space.total_bytes(left) > max_bytes:
        parents = {link.parent for link in left if not link.skipped}
        free = [
            link
            for link in left
            if not link.skipped and link.key not in parents and link.key not in needed
        ]
        if not free:
            break
        going = [free[0], *(one for one in left if one.skipped and one.parent == free[0].key)]
        left = [link for link in left if link not in going]
        found += going
    return found


def used(links: Iterable[Link], machines: Path) -> set[str]:
    """Return the keys of the links that the disk of a machine that is up stands on.

    Raises:
        MachineError: that disk cannot be read.
    """
    below = {file for machine in record.running(machines) for file in backing(machine.disk)}
    return {link.key for link in links if link.disk.resolve() in below}


def backing(file: Path) -> list[Path]:
    """Return a disk and all below it."""
    files: list[Path] = []
    at: Path | None = file
    while at:
        files.append(at.resolve())
        at = qcow2.info(at).backing
    return files
