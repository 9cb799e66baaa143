"""Files with holes: what is zero is not written."""

import os
from collections.abc import Iterator
from typing import IO, BinaryIO

#: A piece of this size that is all zeros becomes a hole: file systems' blocks are as large.
PIECE = 4096
ZEROS = bytes(PIECE)
BLOCK = 4 * 1024**2


def blocks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a file, fewer if it ends."""
    while size > 0 and (block := stream.read(min(BLOCK, size))):
        size -= len(block)
        yield block


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
