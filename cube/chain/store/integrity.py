"""Proof that a link's bytes are those that were frozen."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cube.chain.key.keys import digest
from cube.chain.store.link import DISK, Link, folder_name
from cube.disks import qcow2
from cube.runtime.checksum import sha256
from cube.runtime.errors import CubeError

#: Checksums run side by side: hashlib lets go of the interpreter's lock.
THREADS = 4


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A link that must not be used, and why."""

    link: Link
    reason: str


def damaged(links: Sequence[Link], known: Sequence[Link]) -> list[Damage]:
    """Read every byte of links and say which are not what was frozen.

    Args:
        links: to examine.
        known: every link of the store, for parents.
    """
    names = {link.key: folder_name(link.name, link.key) for link in known}
    with ThreadPoolExecutor(THREADS) as pool:
        reasons = pool.map(lambda link: reason(link, names), links)
        return [
            Damage(link=link, reason=why) for link, why in zip(links, reasons, strict=True) if why
        ]


def reason(link: Link, folders: dict[str, str]) -> str:
    """Say why a link is not what was frozen; empty when it is.

    Args:
        link: to examine.
        folders: name of every link's folder by its key.
    """
    if digest(link.ingredients) != link.key:
        return "its ingredients do not give its key"
    told = {"name": link.name, "parent": link.parent, "refresh": link.refresh}
    if wrong := [word for word in told if told[word] != link.ingredients.get(word)]:
        return f"its record and its ingredients differ in {', '.join(wrong)}"
    if link.parent and link.parent not in folders:
        return f"the link below it, {link.parent[:12]}, is missing"
    if link.skipped:
        return ""
    return wrong_content(link) or wrong_backing(link, folders)


def wrong_content(link: Link) -> str:
    """Say where a disk's bytes are not those that were frozen."""
    if not link.disk.is_file():
        return f"{DISK} is missing"
    if (size := link.disk.stat().st_size) != link.size_bytes:
        return f"{DISK} has {size} bytes, frozen were {link.size_bytes}"
    if (found := sha256(link.disk)) != link.sha256:
        return f"{DISK} has the sha256 {found[:16]}..., frozen was {link.sha256[:16]}..."
    return ""


def wrong_backing(link: Link, folders: dict[str, str]) -> str:
    """Say where a disk's backing file is not that of its parent."""
    try:
        backing = qcow2.info(link.disk).backing
    except CubeError as error:
        return error.message
    expected = link.folder.parent / folders[link.parent] / DISK if link.parent else None
    if (backing and Path(backing).resolve()) != (expected and expected.resolve()):
        return f"it stands on {backing}, not on {expected}"
    return ""
