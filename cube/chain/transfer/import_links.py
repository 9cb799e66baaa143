"""Taking an archive's links into a store: nothing gets its name before all of it is proven."""

import contextlib
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.chain.store import space
from cube.chain.store.link import DISK, RECORD, Link
from cube.chain.store.links import DOOMED, Store
from cube.chain.transfer import reader
from cube.chain.transfer.admission import Draft, admit
from cube.chain.transfer.archive import INDEX, parse_index
from cube.disks import qcow2
from cube.runtime import log
from cube.runtime.errors import ChainError, HostError

#: What a compressed file begins with, and what makes it an archive again.
COMPRESSED = {b"\x1f\x8b": "gunzip", b"\xfd7zXZ": "unxz"}
#: For a file that is refused.
AGAIN = "the chain here is as it was; export it again, or copy the file again"


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What came of an archive.

    Args:
        links: new in the store, lowest first.
        kept: in the archive too, but here already.
        head: the link that the archive was made of.
        is_head: whether it is the store's head now.
    """

    links: tuple[Link, ...]
    kept: tuple[Link, ...]
    head: Link
    is_head: bool

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "imported": [{"name": link.name, "key": link.key} for link in self.links],
            "kept": [{"name": link.name, "key": link.key} for link in self.kept],
            "head": {"name": self.head.name, "key": self.head.key},
            "is_head": self.is_head,
        }


def take_in(store: Store, file: Path, *, os_name: str) -> Intake:
    """Take an archive's links into a store; the caller holds the build lock.

    Args:
        store: where to.
        file: the archive.
        os_name: the image that the store is of.

    Raises:
        ChainError: the file is no archive, is damaged or does not fit; the store is as it was.
        HostError: there is no such file, or the disk is full.
    """
    if not file.is_file():
        raise HostError(f"there is no file {file}", hint="cube chain export FILE makes one")
    store.prepare()
    # What has such a name is removed by `prepare`: a SIGKILL leaves nothing for long.
    folder = store.folder / f"{DOOMED}import"
    folder.mkdir()
    try:
        with explained(file):
            draft = unpack(store, folder, file, os_name)
            return place(draft, admit(draft))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def explained(file: Path) -> Iterator[None]:
    """Name the file in what is wrong with it, in one line.

    Raises:
        ChainError: something is.
    """
    try:
        yield
    except ChainError as error:
        raise ChainError(f"{file}: {error.message}", hint=error.hint or AGAIN) from error


def unpack(store: Store, folder: Path, file: Path, os_name: str) -> Draft:
    """Unpack what is new, comparing every byte with the checksums.

    Raises:
        ChainError: something is not what the index or a record says.
    """
    try:
        with reader.opened(file) as tar:
            return unpack_links(store, folder, tar, os_name)
    except reader.NONSENSE as error:
        raise ChainError("it is damaged, or not an exported chain", hint=remedy(file)) from error


def unpack_links(store: Store, folder: Path, tar: tarfile.TarFile, os_name: str) -> Draft:
    """Unpack an archive that is open.

    Raises:
        ChainError: see `unpack`.
    """
    index = parse_index(reader.read_text(tar, INDEX))
    if index.os != os_name:
        raise ChainError(
            f"it holds links of {index.os}, not of {os_name}",
            hint=f"cube chain import --os {index.os} FILE",
        )
    here = {link.key: link for link in store.links()}
    new, kept = list[Link](), list[Link]()
    needed = sum(entry.disk_bytes for entry in index.links)
    for entry in index.links:
        link, text = reader.read_link(tar, entry, store.folder / entry.folder)
        target = None if link.key in here else begin(folder, link, text)
        if entry.disk_sha256:
            log.status(f"{'unpacking' if target else 'comparing'} {link.name}")
            with space.enough(store.folder, needed):
                reader.read_disk(tar, entry, target)
        (new if target else kept).append(here.get(link.key, link))
    reader.expect_end(tar)
    return Draft(store=store, folder=folder, index=index, new=new, kept=kept)


def begin(folder: Path, link: Link, text: bytes) -> Path:
    """Put a new link's record down; return where its disk goes.

    Raises:
        ChainError: what is here under its name cannot be read.
    """
    if link.folder.exists():
        raise ChainError(f"{link.folder} is here already, and damaged", hint=f"rm -r {link.folder}")
    draft = folder / link.folder.name
    draft.mkdir()
    (draft / RECORD).write_bytes(text)
    return draft / DISK


def remedy(file: Path) -> str:
    """Say what helps with a file that cannot be read: perhaps it only is compressed."""
    with file.open("rb") as stream:
        start = stream.read(8)
    for magic, command in COMPRESSED.items():
        if start.startswith(magic):
            return f"it is compressed: {command} {file}"
    return AGAIN


def place(draft: Draft, head: Link) -> Intake:
    """Give every new link its name, the lowest first, so that a crash leaves whole chains."""
    store = draft.store
    for link in draft.new:
        folder = draft.folder / link.folder.name
        qcow2.sync(folder / RECORD)
        qcow2.sync(folder)
        folder.rename(link.folder)
    qcow2.sync(store.folder)
    if not store.head:
        store.set_head(head)
    return Intake(
        links=tuple(draft.new), kept=tuple(draft.kept), head=head, is_head=store.head == head
    )
