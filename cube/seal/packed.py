"""What compressed files hold: each is decompressed in memory and searched; nothing is written.

A file counts by its first bytes, not by its name. An initramfs may begin with archives that are
not compressed, such as microcode; what follows them is searched, too.
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, cast

import zstandard

from cube.runtime.errors import SealError

CHUNK = 1024 * 1024
#: Source: RFC 1952; The .xz File Format; RFC 8878; bzip2's manual.
GZIP, XZ, ZSTD, BZIP2 = b"\x1f\x8b\x08", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"BZh"
HEAD_BYTES = 6
#: A cpio archive in the format that kernels read: a header of hexadecimal fields, a name, the
#: content, both padded to four bytes. Source: Linux, "initramfs buffer format".
CPIO, CPIO_HEADER, TRAILER = b"070701", 110, b"TRAILER!!!"
#: Where kernels and their initramfs are; one that cannot be searched must not be passed over.
INITRAMFS = re.compile(r"boot/(initrd|initramfs)")
#: What a file that is cut off, damaged or only looks like one leads to.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
#: Seconds for all files; 20 were measured for an image without the GPU stack.
LIMIT_S = 1800.0

#: Name of a file, and a text that is in it.
Found = tuple[str, str]


def search(root: Path, texts: Sequence[str], *, limit_s: float = LIMIT_S) -> list[Found]:
    """Return the compressed files of a tree that hold one of the texts.

    Args:
        root: the tree; no link is followed, and nothing that is mounted below it is searched.
        texts: what is searched for.
        limit_s: seconds until it must have ended.

    Raises:
        SealError: an initramfs is compressed in a way that is not known, or time is up.
    """
    wanted = sorted((text.encode() for text in texts), key=len, reverse=True)
    pattern = re.compile(b"|".join(map(re.escape, wanted)))
    deadline = time.monotonic() + limit_s

    def look(name: str) -> list[Found]:
        with (root / name).open("rb") as file:
            found = set(matches(file, name, pattern, len(wanted[0]), deadline))
        return [(name, text.decode()) for text in sorted(found)]

    # Every library leaves Python's lock while it decompresses.
    with ThreadPoolExecutor() as pool:
        return [one for found in pool.map(look, sorted(files(root))) for one in found]


def files(root: Path) -> Iterator[str]:
    """Yield the names of the plain files of a tree that are not empty."""
    device = root.stat().st_dev
    for folder, folders, names in os.walk(root):
        inside = Path(folder)
        folders[:] = [name for name in folders if (inside / name).lstat().st_dev == device]
        for name in names:
            found = (inside / name).lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size:
                yield os.path.relpath(inside / name, root)


def matches(
    file: IO[bytes], name: str, pattern: re.Pattern[bytes], longest: int, deadline: float
) -> Iterator[bytes]:
    """Yield what of a pattern is in a compressed file; nothing when it is not compressed.

    Raises:
        SealError: see `search`.
    """
    stream = content(file)
    if stream is None:
        if INITRAMFS.match(name) and file.read(1):
            raise SealError(
                f"/{name}: its compression is not known, so it cannot be searched",
                hint="COMPRESS in /etc/initramfs-tools/initramfs.conf: zstd, xz, gzip or bzip2",
            )
        return
    kept = b""
    try:
        while chunk := stream.read(CHUNK):
            data = kept + chunk
            yield from (found[0] for found in pattern.finditer(data))
            kept = data[-longest:]
            if time.monotonic() > deadline:
                raise SealError(
                    f"/{name}: the search of compressed files takes too long",
                    hint="a role leaves large archives behind: unpack or remove them",
                )
    except DAMAGED:
        return


def content(file: IO[bytes]) -> IO[bytes] | None:
    """Return what a compressed file holds; None when it is none. Its place is then at what is not.

    Concatenated streams are read as one.
    """
    pass_archives(file)
    start = file.tell()
    head = file.read(HEAD_BYTES)
    file.seek(start)
    if head.startswith(GZIP):
        return cast(IO[bytes], gzip.open(file))
    if head.startswith(XZ):
        return cast(IO[bytes], lzma.open(file))
    if head.startswith(BZIP2):
        return cast(IO[bytes], bz2.open(file))
    if head.startswith(ZSTD):
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return None


def pass_archives(file: IO[bytes]) -> None:
    """Go to what follows the uncompressed archives at the beginning of a file, and zeros."""
    while (head := file.read(CPIO_HEADER)).startswith(CPIO):
        try:
            size, length = int(head[54:62], 16), int(head[94:102], 16)
        except ValueError:
            break
        name = file.read(padded(CPIO_HEADER + length) - CPIO_HEADER)
        file.seek(padded(size), os.SEEK_CUR)
        if name.startswith(TRAILER):
            pass_zeros(file)
    else:
        file.seek(-len(head), os.SEEK_CUR)


def padded(size: int) -> int:
    """Return a size with its padding to four bytes."""
    return (size + 3) & ~3


def pass_zeros(file: IO[bytes]) -> None:
    """Go to the next byte that is not zero."""
    while chunk := file.read(CHUNK):
        rest = chunk.lstrip(b"\0")
        if rest:
            file.seek(-len(rest), os.SEEK_CUR)
            return
