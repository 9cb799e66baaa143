"""The chain of qcow2 overlays: base <- layer1 <- ... <- layer5.

A link is written under a temporary name while its machine runs, and becomes a link only when
it is frozen: flushed, read-only, renamed. What has its final name is whole.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cube import disk, log

BASE = "base"
#: A link in the making; after a failure its disk stays for inspection.
SUFFIX_NEW = ".new.qcow2"


def link_name(layer: int) -> str:
    """Return the name of a layer's link."""
    return f"layer{layer}"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The links of one build, in a folder."""

    folder: Path

    def path(self, name: str) -> Path:
        """Return where a frozen link is."""
        return self.folder / f"{name}.qcow2"

    def new_path(self, name: str) -> Path:
        """Return where a link is while it is made."""
        return self.folder / f"{name}{SUFFIX_NEW}"

    def links(self) -> list[str]:
        """Return the names of the frozen links, base first."""
        names = [path.name.removesuffix(".qcow2") for path in self.folder.glob("*.qcow2")]
        known = [BASE, *(link_name(layer) for layer in range(1, 6))]
        return [name for name in known if name in names]

    def unfinished(self) -> list[str]:
        """Return the names of links that were not frozen: what a failed step left."""
        return sorted(
            path.name.removesuffix(SUFFIX_NEW) for path in self.folder.glob(f"*{SUFFIX_NEW}")
        )

    def extend(self, parent: str, name: str) -> Path:
        """Begin a link on top of `parent` and return its disk, to be written to.

        Raises:
            CommandError: qemu-img failed.
        """
        new = self.new_path(name)
        new.unlink(missing_ok=True)
        disk.create_overlay(new, backing=self.path(parent))
        return new

    def freeze(self, name: str) -> Path:
        """Make a finished link immutable and give it its final name."""
        new, final = self.new_path(name), self.path(name)
        sync(new)
        new.chmod(0o444)
        new.replace(final)
        sync(self.folder)
        log.debug(f"froze {final} ({final.stat().st_size} bytes)")
        return final

    def discard(self, name: str) -> None:
        """Remove an unfinished link."""
        self.new_path(name).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Put a file or a folder's entries on the disk. Source: fsync(2)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
