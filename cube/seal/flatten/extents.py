"""Where the bytes of a disk lie in the files of its chain."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube.disks import qcow2 as disks
from cube.runtime import run


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Bytes of a disk that lie in one piece.

    Args:
        start: of the first, as a guest counts.
        length: how many.
        file: which of the chain's files holds them; 0 is the disk itself.
        offset: of the first in that file; None where they are compressed.
    """

    start: int
    length: int
    file: int
    offset: int | None


def extents_of(disk: Path) -> list[Extent]:
    """Return what a disk and the chain below it hold, but for what reads as zeros.

    Raises:
        CommandError: a file of the chain is missing, broken or in use.
    """
    argv = ["qemu-img", "map", "--output=json", str(disk)]
    return parse_map(run.run(argv, timeout_s=disks.WHOLE_IMAGE_S).stdout)


def parse_map(text: str) -> list[Extent]:
    """Read what ``qemu-img map --output=json`` printed. Source: qemu-img(1), map."""
    found: list[dict[str, Any]] = json.loads(text)
    return [
        Extent(
            start=one["start"], length=one["length"], file=one["depth"], offset=one.get("offset")
        )
        for one in found
        if one["data"] and not one["zero"]
    ]


def by_cluster(extents: Sequence[Extent], size: int) -> Iterator[tuple[int, list[Extent]]]:
    """Yield the number of each cluster that holds anything, with what it holds, in order.

    Args:
        extents: in order.
        size: of a cluster, bytes.
    """
    current, pieces = -1, list[Extent]()
    for piece in cut(extents, size):
        if piece.start // size != current:
            if pieces:
                yield current, pieces
            current, pieces = piece.start // size, []
        pieces.append(piece)
    if pieces:
        yield current, pieces


def cut(extents: Sequence[Extent], size: int) -> Iterator[Extent]:
    """Cut extents where a cluster ends."""
    for one in extents:
        done = 0
        while done < one.length:
            start = one.start + done
            length = min(one.length - done, size - start % size)
            offset = None if one.offset is None else one.offset + done
            yield Extent(start=start, length=length, file=one.file, offset=offset)
            done += length


def read(pieces: Sequence[Extent], files: Sequence[int], size: int) -> bytearray:
    """Read a cluster; what no piece holds is zeros.

    Args:
        pieces: of one cluster, none of them compressed.
        files: open descriptors of the chain's files, the disk's own first.
        size: of a cluster, bytes.

    Raises:
        OSError: a file cannot be read.
    """
    content = bytearray(size)
    for piece in pieces:
        place = memoryview(content)[piece.start % size :][: piece.length]
        offset = piece.offset or 0
        while place and (got := os.preadv(files[piece.file], [place], offset)):
            place, offset = place[got:], offset + got
    return content
