"""What the links of a chain cost on disk, against flat images and against what they changed.

Each link is written out by `qemu-img convert` as a sparse raw file without a run of 4 KiB zeros: no
uncompressed image of the same content takes less (`qemu-img measure` counts what is allocated, also
zeros, and would make the chain look better). What a link changed are the 4 KiB blocks of its flat
image that differ from the one below and are not zero: the block of the guest's file system.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cube.disks import qcow2
from cube.runtime import run

#: Of the guest's file system. Source: mke2fs.conf(5), "blocksize"; e2fsprogs' default.
BLOCK = 4096
#: Of the overlays. Source: qemu-img(1), qcow2, "cluster_size": 64k by default.
CLUSTER = 65536


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one link takes, in bytes.

    Args:
        name: of the link.
        file: what its qcow2 file takes on disk.
        flat: what it would take as an image of its own, with everything below it.
        written: blocks that differ from those below and hold something.
        cleared: blocks that held something below and are zero now.
        clusters: whole clusters that hold at least one of the written blocks.
    """

    name: str
    file: int
    flat: int
    written: int
    cleared: int
    clusters: int

    @property
    def ratio(self) -> float:
        """Bytes on disk for each byte that it changed."""
        return self.file / (self.written or 1)


def measure(links: Sequence[tuple[str, Path]], scratch: Path) -> list[Cost]:
    """Return what each link (name and disk, the base first) costs; two images fit in `scratch`."""
    costs: list[Cost] = []
    below = Path(os.devnull)
    for name, link in links:
        flat = scratch / f"{name}.raw"
        argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-S", str(BLOCK)]
        run.run([*argv, link, flat], timeout_s=qcow2.WHOLE_IMAGE_S)
        written, cleared, clusters = compare(flat, below)
        costs.append(
            Cost(
                name=name,
                file=taken(link),
                flat=taken(flat),
                written=written,
                cleared=cleared,
                clusters=clusters,
            )
        )
        below = flat
        for old in scratch.glob("*.raw"):
            if old != flat:
                old.unlink()
    below.unlink()
    return costs


def taken(path: Path) -> int:
    """Return the bytes that a file takes on disk. Source: stat(2), st_blocks."""
    return path.stat().st_blocks * 512


def compare(image: Path, below: Path) -> tuple[int, int, int]:
    """Return bytes written, cleared, and in clusters with something written; see `Cost`."""
    written = cleared = clusters = 0
    with image.open("rb") as new, below.open("rb") as old:
        for number in sorted({*used(new.fileno()), *used(old.fileno())}):
            pair = [
                os.pread(one.fileno(), CLUSTER, number * CLUSTER).ljust(CLUSTER, b"\0")
                for one in (new, old)
            ]
            if pair[0] == pair[1]:
                continue
            cut = (
                (pair[0][at : at + BLOCK], pair[1][at : at + BLOCK])
                for at in range(0, CLUSTER, BLOCK)
            )
            changed = [any(now) for now, before in cut if now != before]
            written += sum(changed) * BLOCK
            cleared += (len(changed) - sum(changed)) * BLOCK
            clusters += CLUSTER if any(changed) else 0
    return written, cleared, clusters


def used(file: int) -> Iterator[int]:
    """Yield the numbers of the clusters that hold something. Source: lseek(2), SEEK_DATA."""
    size, end = os.fstat(file).st_size, 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield from range(start // CLUSTER, -(-end // CLUSTER))
