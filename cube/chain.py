"""The chain of qcow2 overlays: base <- layer1 <- ... <- layer5.

A link is written under a temporary name while its machine runs, and gets its own name only
when it is frozen: flushed, read-only, renamed. What has its final name is whole. One link is
made at a time; after a failure it stays, for inspection, until the next is begun.
"""

from dataclasses import dataclass
from pathlib import Path

from cube import disk, log
from cube.errors import CubeError

BASE = "base"
#: Every link that there can be, base first.
NAMES = (BASE, *(f"layer{number}" for number in range(1, 6)))


def link_name(layer: int) -> str:
    """Return the name of a layer's link."""
    return f"layer{layer}"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The links of one build, in a folder."""

    folder: Path

    @property
    def unfinished(self) -> Path:
        """The link in the making, or what a failed step left of it."""
        return self.folder / "unfinished.qcow2"

    def path(self, name: str) -> Path:
        """Return where a frozen link is."""
        return self.folder / f"{name}.qcow2"

    def record(self, name: str) -> Path:
        """Return where it is written down how a link was made."""
        return self.folder / f"{name}.json"

    def links(self) -> list[str]:
        """Return the names of the frozen links, base first."""
        return [name for name in NAMES if self.path(name).exists()]

    def require(self, name: str) -> Path:
        """Return the disk of a frozen link.

        Raises:
            CubeError: there is none of this name.
        """
        if name not in self.links():
            there = ", ".join(self.links()) or "none yet: run cube build"
            raise CubeError(f"there is no link {name!r} in {self.folder}", hint=f"links: {there}")
        return self.path(name)

    def extend(self, parent: str) -> Path:
        """Begin a link on top of `parent` and return its disk, to be written to.

        Raises:
            MachineError: the parent is missing or broken.
        """
        self.discard()
        disk.create_overlay(self.unfinished, self.path(parent))
        return self.unfinished

    def freeze(self, name: str) -> Path:
        """Make the finished link immutable and give it its name."""
        final = self.path(name)
        disk.sync(self.unfinished)
        self.unfinished.chmod(0o444)
        self.unfinished.replace(final)
        disk.sync(self.folder)
        log.debug(f"froze {final} ({final.stat().st_size} bytes)")
        return final

    def discard(self) -> None:
        """Remove an unfinished link."""
        self.unfinished.unlink(missing_ok=True)

    def cut(self, head: str | None) -> None:
        """Remove all that is above `head` (everything for None), and what is unfinished."""
        keep = NAMES.index(head) + 1 if head else 0
        for name in reversed(NAMES[keep:]):
            self.path(name).unlink(missing_ok=True)
            self.record(name).unlink(missing_ok=True)
        self.discard()
