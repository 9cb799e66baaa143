"""What an ext4 file system holds besides its files: free blocks, its journal, its superblock."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cube.runtime import run
from cube.runtime.errors import CommandError, SealError

CHUNK = 1024 * 1024
#: Where the kernel notes that the journal must be replayed. Source: ext4(5).
UNCLEAN = "needs_recovery"
#: Inode of the journal. Source: Linux, Documentation/filesystems/ext4/special_inodes.rst.
JOURNAL = "<8>"


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """A file system in an image.

    Args:
        file: raw image, or what shows one.
        offset: where the file system begins in it, in bytes.
        fields: of its superblock, by dumpe2fs's names.
        unused: start and length of each run of blocks without content, in bytes of the file
            system: free blocks, and the journal but for its own first block.
    """

    file: Path
    offset: int
    fields: Mapping[str, str]
    unused: tuple[tuple[int, int], ...]

    @property
    def clean(self) -> bool:
        """Whether it was unmounted, so that what it holds is in its place."""
        features = self.fields.get("Filesystem features", "")
        return self.fields.get("Filesystem state") == "clean" and UNCLEAN not in features


def read(file: Path, offset: int) -> FileSystem:
    """Read the superblock, the maps of free blocks and where the journal is.

    Raises:
        SealError: there is no ext4 file system.
    """
    place = f"{file}?offset={offset}"
    try:
        fields, free = parse(run.run(["dumpe2fs", place]).stdout)
        blocks = run.run(["debugfs", "-R", f"blocks {JOURNAL}", place]).stdout.split()
        size = int(fields["Block size"])
        unused = sorted([*free, *((int(block) * size, size) for block in blocks[1:])])
    except (CommandError, ValueError, KeyError) as error:
        raise SealError(f"{file}: no ext4 file system at byte {offset}: {error}") from error
    return FileSystem(file=file, offset=offset, fields=fields, unused=tuple(unused))


def parse(text: str) -> tuple[dict[str, str], tuple[tuple[int, int], ...]]:
    """Read what dumpe2fs printed: the superblock's fields, and runs of free blocks in bytes.

    Raises:
        KeyError: a field is missing.
        ValueError: a number is none.
    """
    head, _, groups = text.partition("\n\n\nGroup ")
    pairs = (line.partition(":") for line in head.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    size = int(fields["Block size"])
    free = []
    for line in re.findall(r"^\s+Free blocks: (\S.*)$", groups, re.MULTILINE):
        for part in line.split(", "):
            first, _, last = part.partition("-")
            free.append((int(first) * size, (int(last or first) - int(first) + 1) * size))
    return fields, tuple(free)


def residues(found: FileSystem, written: Iterable[tuple[int, int]]) -> list[int]:
    """Return where unused blocks do not read as zeros, in bytes of the file system.

    Args:
        found: the file system.
        written: start and length of what the image holds at all, in bytes of the image, in
            order; everything else reads as zeros.
    """
    places = []
    with found.file.open("rb") as stream:
        for start, length in overlaps(found, written):
            stream.seek(found.offset + start)
            left = length
            while left and (chunk := stream.read(min(CHUNK, left))):
                if chunk.count(0) != len(chunk):
                    places.append(start + length - left)
                    break
                left -= len(chunk)
    return places


def overlaps(found: FileSystem, written: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of unused runs that the image holds; both are in order."""
    held = [(start - found.offset, start - found.offset + length) for start, length in written]
    at = 0
    for start, length in found.unused:
        while at < len(held) and held[at][1] <= start:
            at += 1
        for low, high in held[at:]:
            if low >= start + length:
                break
            begin, end = max(low, start), min(high, start + length)
            yield begin, end - begin
