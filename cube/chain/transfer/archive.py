"""A chain as one file: a tar archive, compressed by zstd, whose first member lists the others.

Layout, version 1::

    index.json               what the archive holds: see `Index`
    NAME-KEY/link.json       a link's record, as it is in the store
    NAME-KEY/disk.qcow2      its disk, unless it was skipped

A link comes after the one that it stands on. Nothing in it depends on when or where it was
written: the same links give the same bytes.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cube.chain.store.link import DISK, RECORD, Link, folder_name
from cube.chain.store.links import Store
from cube.runtime import documents
from cube.runtime.errors import ChainError

WHAT = "vault-cube chain"
FORMAT = 1
INDEX = "index.json"
#: A folder that a link may have.
FOLDER = re.compile(r"(base|layer[1-9])-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A link in an archive.

    Args:
        folder: its folder's name.
        parent_sha256: of the disk below; the same key may have been made twice, with other bytes.
        record_sha256: of its record.
        disk_sha256: of its disk; empty when it was skipped.
        disk_bytes: size of its disk.
    """

    folder: str
    parent_sha256: str
    record_sha256: str
    disk_sha256: str
    disk_bytes: int


@dataclass(frozen=True, kw_only=True)
class Index:
    """What an archive holds.

    Args:
        what: `WHAT`.
        format: of the archive.
        os: name of the image.
        head: key of the link that was asked for.
        links: lowest first.
    """

    os: str
    head: str
    links: tuple[Entry, ...]
    what: str = WHAT
    format: int = FORMAT

    def render(self) -> bytes:
        """Return index.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    def members(self) -> list[str]:
        """Return the names of all members after the index, in order."""
        return [
            f"{entry.folder}/{name}"
            for entry in self.links
            for name in ([RECORD, DISK] if entry.disk_sha256 else [RECORD])
        ]


def parse_index(text: bytes) -> Index:
    """Read index.json.

    Raises:
        ChainError: it is none, or of another version.
    """
    try:
        data = documents.parse(text)
        if data["what"] != WHAT:
            raise KeyError(WHAT)
        if data["format"] != FORMAT:
            raise ChainError(f"format {data['format']}, this cube reads {FORMAT}")
        links = tuple(parse_entry(entry) for entry in data.pop("links"))
        index = Index(links=links, **data)
        if not isinstance(index.os, str) or not isinstance(index.head, str):
            raise TypeError(index)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChainError("it is not an exported chain") from error
    if not links or len({entry.folder for entry in links}) < len(links):
        raise ChainError("its index lists no link, or lists one twice")
    return index


def parse_entry(data: dict[str, Any]) -> Entry:
    """Read one link of the index.

    Raises:
        ChainError: its folder has a name that no link may have.
        ValueError: a size is none.
    """
    entry = Entry(**data)
    if not FOLDER.fullmatch(entry.folder):
        raise ChainError(f"its index names the folder {entry.folder!r}")
    if not isinstance(entry.disk_bytes, int) or entry.disk_bytes < 0:
        raise ValueError(entry.disk_bytes)
    return entry


def wanted_links(store: Store, link: Link, *, only: bool) -> list[Link]:
    """Return what goes into an archive of a link, lowest first.

    Args:
        store: the links.
        link: the highest.
        only: leave out what is below it.

    Raises:
        ChainError: a link below it is missing.
    """
    if only:
        return [link]
    line, found = store.lineage(link), list[Link]()
    top = link.layer.layer if link.layer else 0
    for one in line:
        beside = [
            other
            for other in store.links()
            if other.skipped
            and other.parent == one.key
            and not other.aside
            and other.layer
            and other.layer.layer < top
        ]
        found += [one, *beside]
    return found


def describe(store: Store, links: Sequence[Link], *, os_name: str, head: Link) -> Index:
    """Return the index of links."""
    sums = {link.key: link.sha256 for link in store.links()}
    return Index(
        os=os_name,
        head=head.key,
        links=tuple(
            Entry(
                folder=folder_name(link.name, link.key),
                parent_sha256=sums.get(link.parent, ""),
                record_sha256=hashlib.sha256((link.folder / RECORD).read_bytes()).hexdigest(),
                disk_sha256=link.sha256,
                disk_bytes=link.size_bytes,
            )
            for link in links
        ),
    )
