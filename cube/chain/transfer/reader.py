"""Reading an archive from elsewhere, of which nothing is trusted; see `.archive`."""

import contextlib
import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zstandard

from cube.chain.key import keys
from cube.chain.store.link import DISK, RECORD, Link, folder_name, parse
from cube.chain.transfer import sparse
from cube.chain.transfer.archive import Entry
from cube.runtime import documents
from cube.runtime.errors import ChainError

#: No index and no record is larger.
TEXT_BYTES = 16 * 1024**2
#: What reading bytes that are no archive raises, besides tarfile's own errors.
NONSENSE = (
    tarfile.TarError, zstandard.ZstdError, EOFError, ValueError, KeyError, IndexError, TypeError,
    AttributeError, OverflowError, RecursionError, MemoryError,
)  # fmt: skip


#: What a file that zstd has compressed begins with. Source: RFC 8878, 3.1.1.
ZSTD = b"\x28\xb5\x2f\xfd"


class Unpacked:
    """The archive in a compressed file, read forwards; no single read may take all memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = zstandard.ZstdDecompressor().stream_reader(stream)
        self.seek, self.tell = self._stream.seek, self._stream.tell

    def read(self, size: int) -> bytes:
        """Return the next bytes; fewer only at the end.

        Raises:
            ValueError: a header claims a size that no member has.
            ZstdError: the file is damaged.
        """
        if not 0 <= size <= TEXT_BYTES:
            raise ValueError(size)
        return self._stream.read(size)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive, compressed by zstd or not."""
    with file.open("rb") as stream:
        packed = stream.read(len(ZSTD)) == ZSTD
        stream.seek(0)
        source = Unpacked(stream) if packed else stream
        with tarfile.TarFile(fileobj=source, mode="r") as tar:  # type: ignore[arg-type]
            yield tar


def next_file(tar: tarfile.TarFile, name: str) -> tuple[int, IO[bytes]]:
    """Return size and content of the next member, a plain file of just this name.

    So no member can have a path of its own choosing, or be a link or a device.

    Raises:
        ChainError: it is another.
    """
    found = tar.next()
    if found is None:
        raise ChainError(f"it ends before {name}")
    stream = tar.extractfile(found) if found.name == name and found.isreg() else None
    if stream is None:
        raise ChainError(f"it holds {found.name!r} in the place of {name}")
    return found.size, stream


def read_text(tar: tarfile.TarFile, name: str) -> bytes:
    """Return the next member, a small file that must have this name.

    Raises:
        ChainError: it has not, or is too large.
    """
    size, stream = next_file(tar, name)
    if size > TEXT_BYTES:
        raise ChainError(f"{name} is too large")
    text = stream.read()
    if len(text) != size:
        raise ChainError(f"it ends within {name}")
    return text


def expect_end(tar: tarfile.TarFile) -> None:
    """Make sure that no member follows.

    Raises:
        ChainError: one does.
    """
    if (more := tar.next()) is not None:
        raise ChainError(f"it holds {more.name!r}, which its index does not list")


def read_link(tar: tarfile.TarFile, entry: Entry, folder: Path) -> tuple[Link, bytes]:
    """Read a link's record and hold it against the index and itself.

    Args:
        tar: the archive.
        entry: what its index says of the link.
        folder: where the link will be.

    Returns:
        The link, and its record's text.

    Raises:
        ChainError: it is no record, or not that of its key.
    """
    name = f"{entry.folder}/{RECORD}"
    text = read_text(tar, name)
    if hashlib.sha256(text).hexdigest() != entry.record_sha256:
        raise ChainError(f"{name} has a checksum other than the one in the index")
    try:
        link = parse(folder, documents.parse(text))
        sound = sound_key(link)
    except NONSENSE as error:
        raise ChainError(f"{name} is not a link record of this version") from error
    if not sound:
        raise ChainError(f"{name}: its ingredients do not give its key")
    frozen = (link.sha256, link.size_bytes, bool(link.skipped))
    if frozen != (entry.disk_sha256, entry.disk_bytes, not entry.disk_sha256):
        raise ChainError(f"{name} and the index differ about the disk")
    return link, text


def sound_key(link: Link) -> bool:
    """Tell whether a link's ingredients give its key, and all that is said of it.

    Raises:
        KeyError: an ingredient is missing.
        TypeError: another version of this program made it.
    """
    if link.ingredients["format"] != keys.FORMAT:
        raise TypeError(link.ingredients["format"])
    return (
        keys.digest(link.ingredients) == link.key
        and folder_name(link.name, link.key) == link.folder.name
        and link.ingredients["name"] == link.name
        and link.ingredients["parent"] == link.parent
        and link.ingredients["refresh"] == link.refresh
        and isinstance(link.ingredients["data"], dict)
    )


def read_disk(tar: tarfile.TarFile, entry: Entry, target: Path | None) -> None:
    """Read a disk to its end, and write it, with its holes, if a target is given.

    Raises:
        ChainError: it is not what the index says.
    """
    name = f"{entry.folder}/{DISK}"
    size, stream = next_file(tar, name)
    if size != entry.disk_bytes:
        raise ChainError(f"{name} has {size} bytes, the index says {entry.disk_bytes}")
    found = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(target.open("wb")) if target else None
        for block in sparse.blocks(stream, size):
            found.update(block)
            if out:
                sparse.write(out, block)
        if out:
            sparse.finish(out)
    if found.hexdigest() != entry.disk_sha256:
        raise ChainError(f"{name} has a checksum other than the one in the index")
    if target:
        target.chmod(0o444)
