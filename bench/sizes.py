"""What the links of a chain cost on disk, against flat images and against what they changed.

How both are measured, and why: bench/README.md, "The layer chain".
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cube.disks import qcow2
from cube.runtime import run
from cube.seal.leaks import data_of

#: Of the guest's file system. Source: mke2fs.conf(5), "blocksize"; e2fsprogs' default.
BLOCK = 4096
#: Of the overlays. Source: qemu-img(1), qcow2, "cluster_size": 64k by default.
CLUSTER = 65536
#: Where the blocks of a cluster begin.
STARTS = range(0, CLUSTER, BLOCK)


@dataclass(frozen=True)
class Cost:
    """What one link takes, in bytes."""

    name: str
    file: int  #: what its qcow2 file takes on disk
    flat: int  #: what it would take as an image of its own, with everything below it
    written: int  #: blocks that differ from those below and hold something
    cleared: int  #: blocks that held something below and are zero now
    clusters: int  #: whole clusters that hold at least one of the written blocks

    @property
    def ratio(self) -> float:
        """Bytes on disk for each byte that it changed."""
        return self.file / (self.written or 1)

    def row(self) -> dict[str, str]:
        """Return its row of the page, in megabytes."""
        sizes = {
            "MB on disk": self.file,
            "MB changed (4 KiB blocks)": self.written,
            "MB changed (64 KiB clusters)": self.clusters,
            "MB cleared": self.cleared,
            "MB as a flat image": self.flat,
        }
        told = {head: f"{size / 1e6:.1f}" for head, size in sizes.items()}
        return {"link": self.name, **told, "MB on disk / changed": f"{self.ratio:.2f}"}


def measure(links: Mapping[str, Path], scratch: Path) -> list[Cost]:
    """Return what each link costs, the base first; the last two images stay in `scratch`."""
    costs: list[Cost] = []
    flat, below = scratch / "flat.raw", scratch / "below.raw"
    flat.touch()
    for name, link in links.items():
        flat.replace(below)
        argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-S", str(BLOCK)]
        run.run([*argv, link, flat], timeout_s=qcow2.WHOLE_IMAGE_S)
        on_disk, whole = (qcow2.info(one).actual_bytes for one in (link, flat))
        costs.append(Cost(name, on_disk, whole, *compare(flat, below)))
    return costs


def compare(image: Path, below: Path) -> tuple[int, int, int]:
    """Return bytes written, cleared, and in clusters with something written; see `Cost`."""
    written = cleared = clusters = 0
    with image.open("rb") as new, below.open("rb") as old:
        for offset in sorted(used(new.fileno()) | used(old.fileno())):
            now, before = (os.pread(one.fileno(), CLUSTER, offset) for one in (new, old))
            if now == before:
                continue
            blocks = [(now[at : at + BLOCK], before[at : at + BLOCK]) for at in STARTS]
            held = [any(one) for one, other in blocks if one != other and (any(one) or any(other))]
            written += sum(held) * BLOCK
            cleared += (len(held) - sum(held)) * BLOCK
            clusters += CLUSTER * any(held)
    return written, cleared, clusters


def used(descriptor: int) -> set[int]:
    """Return the offsets of the clusters of a sparse file that hold something."""
    return {
        offset
        for start, length in data_of(descriptor)
        for offset in range(start // CLUSTER * CLUSTER, start + length, CLUSTER)
    }
