"""The links of a store as a table."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cube.chain.store import space
from cube.chain.store.link import Link
from cube.chain.store.links import Store
from cube.runtime import units

HEADINGS = ("LINK", "KEY", "PARENT", "MADE", "TOOK", "SIZE", "MARKS")
NOTHING = "-"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A link, and what it is to the head.

    Args:
        link: the link.
        head: whether it is the head.
        current: whether the head stands on it, or it is a skipped layer of the head's chain.
        used_bytes: what it takes on the disk.
    """

    link: Link
    head: bool
    current: bool
    used_bytes: int

    @property
    def marks(self) -> list[str]:
        """Say what is special about it."""
        place = ["head"] if self.head else ["current"] if self.current else []
        aside = ["set aside"] if self.link.aside else []
        return place + aside + ([f"skipped: {self.link.skipped}"] if self.link.skipped else [])

    def cells(self) -> list[str]:
        """Return what stands in its line."""
        link = self.link
        disk = [] if link.skipped else [units.duration(link.seconds), units.size(self.used_bytes)]
        return [
            link.name,
            link.short,
            link.parent[: len(link.short)] or NOTHING,
            made(link),
            *(disk or [NOTHING, NOTHING]),
            ", ".join(self.marks),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known of it."""
        return {
            **json.loads(self.link.render()),
            "folder": str(self.link.folder),
            "used_bytes": self.used_bytes,
            "head": self.head,
            "current": self.current,
            "aside": self.link.aside,
        }


def made(link: Link) -> str:
    """Say when a link was frozen."""
    return datetime.fromisoformat(link.created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def rows(store: Store) -> list[Row]:
    """Return every link of a store, oldest first; nothing is locked, and a build may go on."""
    links, line, head = store.links(), in_use(store), store.head
    current = {link.key for link in [*line, *skipped(links, line)]}
    return [
        Row(
            link=link,
            head=link == head,
            current=link.key in current,
            used_bytes=space.used_bytes(link),
        )
        for link in links
    ]


def in_use(store: Store) -> list[Link]:
    """Return the head and what is there of the links below it, base first.

    Where no head is written down, the newest link that can be used stands for it.
    """
    links = store.links()
    known = {link.key: link for link in links}
    usable = [link for link in links if not link.skipped and not link.aside]
    at = store.head or next(reversed(usable), None)
    line: list[Link] = []
    while at:
        line.insert(0, at)
        at = known.pop(at.parent, None)
    return line


def skipped(links: Iterable[Link], line: Sequence[Link]) -> list[Link]:
    """Return the skipped layers on the links of a chain that are in use: of a name the newest."""
    keys = {link.key for link in line}
    found = {
        (link.parent, link.name): link
        for link in links
        if link.skipped and link.parent in keys and not link.aside
    }
    return list(found.values())


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with columns below each other."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
