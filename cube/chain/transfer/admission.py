"""Whether links from elsewhere may enter a store: what they stand on must be there, byte for byte.

A key says what made a link, not its bytes: two machines that make the same key have different
disks, and an overlay on the wrong one is a broken file system.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cube.chain.store.link import DISK, Link
from cube.chain.store.links import Store
from cube.chain.transfer.archive import Entry, Index
from cube.config import BASE
from cube.disks import qcow2_header
from cube.runtime.errors import ChainError


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An archive's links before they have their names.

    Args:
        store: where they are to go.
        folder: where they lie until then, each in a folder of its final name.
        index: what the archive says that it holds.
        new: links to enter, in the archive's order.
        kept: links of the archive that are in the store already.
    """

    store: Store
    folder: Path
    index: Index
    new: Sequence[Link]
    kept: Sequence[Link]


def admit(draft: Draft) -> Link:
    """Examine all of a draft.

    Returns:
        The link that the archive was made of.

    Raises:
        ChainError: a link must not enter.
    """
    entries = {entry.folder: entry for entry in draft.index.links}
    here = {link.key: link for link in draft.store.links()}
    for link in draft.new:
        require_image(link, draft.index.os)
        require_no_orphan(link, list(here.values()))
        if link.parent:
            require_parent(link, here.get(link.parent), entries[link.folder.name])
        if not link.skipped:
            require_backing(link, here.get(link.parent), draft.folder)
        here[link.key] = link
    for link in [*draft.new, *draft.kept]:
        if link.key == draft.index.head and not link.skipped:
            return link
    raise ChainError(f"the link that it was made of, {draft.index.head[:12]}, is not in it")


def require_image(link: Link, os_name: str) -> None:
    """Refuse the base of another image.

    Raises:
        ChainError: it is one.
    """
    made = link.ingredients["data"].get("image.os", os_name)
    if link.name == BASE and made != os_name:
        raise ChainError(f"its base is one of {made}, not of {os_name}")


def require_no_orphan(link: Link, here: Sequence[Link]) -> None:
    """Refuse a link on which one of the store would come to stand that was made on other bytes.

    Raises:
        ChainError: there is one.
    """
    for child in here:
        if child.parent == link.key:
            raise ChainError(
                f"{child.name} {child.short}, which is here, stood on a {link.name} that is gone:"
                " its content may have differed",
                hint=f"remove what was based on it: rm -r {child.folder}",
            )


def require_parent(link: Link, parent: Link | None, entry: Entry) -> None:
    """Refuse a link without the very disk that it was made on.

    Raises:
        ChainError: it is another, or none.
    """
    if not parent or parent.skipped:
        raise ChainError(
            f"{link.name} {link.short} stands on {link.parent[:12]}, which is neither before it"
            " nor here",
            hint="export it with all that is below it, without --only",
        )
    if parent.sha256 != entry.parent_sha256:
        raise ChainError(
            f"{link.name} {link.short} was made on another {parent.name} {parent.short} than the"
            " one here: the same key, different content",
            hint="import it into an empty build folder (build.dir of cube.toml), or remove the"
            f" chain here first: rm -r {parent.folder.parent}",
        )


def require_backing(link: Link, parent: Link | None, folder: Path) -> None:
    """Refuse a disk that names another file than its parent's.

    Raises:
        ChainError: it does.
    """
    header = qcow2_header.read_header(folder / link.folder.name / DISK)
    wanted = f"../{parent.folder.name}/{DISK}" if parent else ""
    if header.external_data:
        raise ChainError(f"{link.name} {link.short}: its disk keeps its data in another file")
    if header.backing != wanted or header.backing_format != ("qcow2" if parent else ""):
        raise ChainError(
            f"{link.name} {link.short}: its disk stands on {header.backing!r}, not on {wanted!r}"
        )
