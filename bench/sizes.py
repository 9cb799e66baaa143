"""What the links of a chain cost on disk, against flattened images and against what they changed.

Both need each link as one flat image. `qemu-img measure` would only estimate it from what is
allocated, so that clusters full of zeros would make the flat images look larger and the chain
better than it is. So each link is really written out by `qemu-img convert`, as a sparse raw file
without a run of 4 KiB zeros: no uncompressed image of the same content takes less. It takes
seconds and the space of two images at a time.

What a link changed is found by comparing its flat image with that of the link below it: every
4 KiB block that differs and is not zero. That is the block of the guest's file system; nothing
smaller is ever written, and qcow2's clusters of 64 KiB are not made an excuse. Blocks that the
link cleared cost it nothing and count for nothing. A block that was written and freed again
counts: it was written, and nobody but the guest's file system can tell.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cube.disks import qcow2
from cube.runtime import run

#: Of the guest's file system. Source: mke2fs.conf(5), "blocksize"; e2fsprogs' default.
BLOCK = 4096
#: Of the overlays. Source: qemu-img(1), qcow2, "cluster_size": 64k by default.
CLUSTER = 65536
ZEROS = bytes(BLOCK)


@dataclass(frozen=True, kw_only=True)
class Change:
    """How an image differs from the one below it, in bytes.

    Args:
        written: blocks that differ and hold something.
        cleared: blocks that held something below and are zero now.
        clusters: whole clusters that hold at least one of the written blocks.
    """

    written: int = 0
    cleared: int = 0
    clusters: int = 0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one link takes, in bytes.

    Args:
        name: of the link.
        file: what its qcow2 file takes on disk.
        flat: what it would take as an image of its own, with everything below it.
        change: against the link below it.
    """

    name: str
    file: int
    flat: int
    change: Change

    @property
    def ratio(self) -> float:
        """Bytes on disk for each byte that it changed."""
        return self.file / (self.change.written or 1)


def measure(links: Sequence[tuple[str, Path]], scratch: Path) -> list[Cost]:
    """Return what each link of a chain costs.

    Args:
        links: name and disk of each, the base first.
        scratch: folder for two flat images at a time.

    Raises:
        CommandError: a disk cannot be read.
    """
    costs: list[Cost] = []
    below: Path | None = None
    for name, link in links:
        flat = flatten(link, scratch / f"{name}.raw")
        change = compare(flat, below)
        costs.append(Cost(name=name, file=taken(link), flat=taken(flat), change=change))
        if below:
            below.unlink()
        below = flat
    if below:
        below.unlink()
    return costs


def flatten(link: Path, target: Path) -> Path:
    """Write a link with all below it as one sparse raw file."""
    words = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-S", str(BLOCK)]
    run.run([*words, link, target], timeout_s=qcow2.WHOLE_IMAGE_S)
    return target


def taken(path: Path) -> int:
    """Return the bytes that a file takes on disk. Source: stat(2), st_blocks."""
    return path.stat().st_blocks * 512


def compare(image: Path, below: Path | None) -> Change:
    """Compare two flat images; None below is an empty disk."""
    written = cleared = clusters = 0
    with image.open("rb") as new, (below or Path(os.devnull)).open("rb") as old:
        for number in sorted({*used_clusters(new), *used_clusters(old)}):
            filled, emptied = differing(read_cluster(new, number), read_cluster(old, number))
            written += filled * BLOCK
            cleared += emptied * BLOCK
            clusters += CLUSTER if filled else 0
    return Change(written=written, cleared=cleared, clusters=clusters)


def differing(new: bytes, old: bytes) -> tuple[int, int]:
    """Return how many blocks of a cluster differ and hold something, and how many are zero now."""
    if new == old:
        return 0, 0
    blocks = [(new[at : at + BLOCK], old[at : at + BLOCK]) for at in range(0, CLUSTER, BLOCK)]
    changed = [block for block, before in blocks if block != before]
    filled = sum(block != ZEROS for block in changed)
    return filled, len(changed) - filled


def read_cluster(file: BinaryIO, number: int) -> bytes:
    """Return a cluster's bytes; beyond the end of a file there are zeros."""
    return os.pread(file.fileno(), CLUSTER, number * CLUSTER).ljust(CLUSTER, b"\0")


def used_clusters(file: BinaryIO) -> Iterator[int]:
    """Yield the numbers of the clusters that hold something. Source: lseek(2), SEEK_DATA."""
    size = os.fstat(file.fileno()).st_size
    end = 0
    while end < size:
        try:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        yield from range(start // CLUSTER, -(-end // CLUSTER))
