"""Files with holes: a hole is neither read, nor stored, nor written."""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from typing import IO, BinaryIO

#: A piece of this size that is all zeros becomes a hole: file systems' blocks are as large.
PIECE = 4096
ZEROS = bytes(PIECE)
BLOCK = 4 * 1024**2
#: Holes that are smaller, all together, are not worth a map.
WORTH = 1024**2
#: A sparse member must be smaller: Python's tarfile, up to 3.13 at least, loses its place behind
#: one with a size that needs a header of its own. Source: TarInfo._proc_pax.
LIMIT = 8 * 1024**3

#: Offset and length of a part with data.
Part = tuple[int, int]


def parts_of(stream: BinaryIO, size: int) -> list[Part]:
    """Return the parts of a file that hold data, in order.

    Source: lseek(2), SEEK_DATA and SEEK_HOLE; ENXIO says that no data follows.
    """
    found: list[Part] = []
    at = 0
    while at < size:
        try:
            begin = os.lseek(stream.fileno(), at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        at = os.lseek(stream.fileno(), begin, os.SEEK_HOLE)
        found.append((begin, at - begin))
    return found


def map_text(parts: list[Part], size: int) -> bytes:
    """Return the map that stands before the data of a sparse member of a tar archive.

    Source: GNU tar manual, "Storing Sparse Files", "PAX Format, Version 1.0": decimal numbers,
    each on a line: how many parts, then offset and length of each; padded to 512 bytes. An
    empty part at the end tells the size.
    """
    numbers = [number for part in [*parts, (size, 0)] for number in part]
    text = "".join(f"{number}\n" for number in [len(parts) + 1, *numbers]).encode()
    return text + bytes(-len(text) % 512)


def blocks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a file, fewer if it ends."""
    while size > 0 and (block := stream.read(min(BLOCK, size))):
        size -= len(block)
        yield block


class Packed(io.RawIOBase):
    """A file as a tar archive stores it: the map of its parts, if it has holes, and their data."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream, self._size = stream, size
        self._parts = parts_of(stream, size)
        held = sum(length for _, length in self._parts)
        self.sparse = size - held >= WORTH and held < LIMIT
        if not self.sparse:
            self._parts = [(0, size)]
        self._map = map_text(self._parts, size) if self.sparse else b""
        self.length = len(self._map) + (held if self.sparse else size)
        self._sum = hashlib.sha256()
        self._chunks, self._rest = self._content(), memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read the next bytes; 0 says that all were read."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def sha256(self) -> str:
        """Return the checksum of the file with its holes, once all was read."""
        for _ in self._chunks:
            pass
        return self._sum.hexdigest()

    def _content(self) -> Iterator[bytes]:
        if self._map:
            yield self._map
        at = 0
        for begin, length in self._parts:
            self._skip(begin - at)
            self._stream.seek(begin)
            for block in blocks(self._stream, length):
                self._sum.update(block)
                yield block
            at = begin + length
        self._skip(self._size - at)

    def _skip(self, length: int) -> None:
        for at in range(0, length, BLOCK):
            self._sum.update(bytes(min(BLOCK, length - at)))


def write(stream: BinaryIO, block: bytes) -> None:
    """Write a block, seeking over what is zero; `finish` gives the file its size."""
    for at in range(0, len(block), PIECE):
        piece = block[at : at + PIECE]
        if piece == ZEROS[: len(piece)]:
            stream.seek(len(piece), os.SEEK_CUR)
        else:
            stream.write(piece)


def finish(stream: BinaryIO) -> None:
    """Give a file its size, though it may end in a hole, and put it on the medium."""
    stream.truncate(stream.tell())
    stream.flush()
    os.fsync(stream.fileno())
