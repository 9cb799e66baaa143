"""Writing links into an archive; see `cube.chain.transfer.archive`."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from cube.chain.store import space
from cube.chain.store.link import DISK, RECORD, Link
from cube.chain.transfer import sparse
from cube.chain.transfer.archive import INDEX, Index
from cube.disks import qcow2
from cube.runtime import log
from cube.runtime.errors import ChainError


def export(file: Path, links: Sequence[Link], index: Index) -> int:
    """Write an archive, whole or not at all; the caller keeps the links from being removed.

    Args:
        file: where to.
        links: what goes into it, lowest first.
        index: their description.

    Returns:
        The archive's size in bytes.

    Raises:
        ChainError: a link is damaged.
        HostError: the disk is full.
    """
    new = file.with_name(f".{file.name}.new")
    try:
        with space.enough(file.parent, sum(link.size_bytes for link in links)):
            with new.open("wb") as stream:
                write(stream, links, index)
                sparse.finish(stream)
            size = new.stat().st_size
            new.replace(file)
            qcow2.sync(file.absolute().parent)
    finally:
        new.unlink(missing_ok=True)
    return size


def write(stream: BinaryIO, links: Sequence[Link], index: Index) -> None:
    """Write index, records and disks."""
    with tarfile.TarFile(
        fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, copybufsize=sparse.BLOCK
    ) as tar:
        add_text(tar, INDEX, index.render())
        for link, entry in zip(links, index.links, strict=True):
            add_text(tar, f"{entry.folder}/{RECORD}", (link.folder / RECORD).read_bytes())
            if entry.disk_sha256:
                log.status(f"packing {link.name}, {space.words(link.size_bytes)}")
                add_disk(tar, f"{entry.folder}/{DISK}", link)


def member(name: str, size: int) -> tarfile.TarInfo:
    """Describe a member: read-only, without owner or time."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444
    return info


def add_text(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    """Add a small file."""
    tar.addfile(member(name, len(text)), io.BytesIO(text))


def add_disk(tar: tarfile.TarFile, name: str, link: Link) -> None:
    """Add a disk, comparing it with what was frozen while it is read.

    Raises:
        ChainError: it is damaged.
    """
    if not link.disk.is_file() or link.disk.stat().st_size != link.size_bytes:
        raise damaged(link)
    with link.disk.open("rb") as stream:
        packed = sparse.Packed(stream, link.size_bytes)
        info = member(name, packed.length)
        if packed.sparse:
            info.name = f"{Path(name).parent}/GNUSparseFile.0/{Path(name).name}"
            info.pax_headers = {
                "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                "GNU.sparse.name": name, "GNU.sparse.realsize": str(link.size_bytes),
            }  # fmt: skip
        tar.addfile(info, io.BufferedReader(packed, sparse.BLOCK))
        if packed.sha256() != link.sha256:
            raise damaged(link)


def damaged(link: Link) -> ChainError:
    """Build the error for a link that is not what was frozen."""
    return ChainError(
        f"{link.name} {link.short} is damaged", hint="cube chain verify says how; cube build"
    )
