"""The store of links: a tree of qcow2 overlays, each in a folder of its own, immutable.

Layout, version 1::

    chain/format              the version
    chain/head                key of the link that is the head
    chain/NAME-KEY/disk.qcow2 overlay; its backing file is ../NAME-KEY/disk.qcow2, relative
    chain/NAME-KEY/link.json  what the link is; see cube.chain.store.link
    chain/NAME-KEY/aside      a rollback took it out of use
    chain/unfinished/         the link in the making, or what a failed step left of it

A link is made in ``unfinished`` and gets its name by one rename, when its disk and its record
are on the medium. So whatever has its name is whole, and a crash leaves at most an unfinished
link, which stays for inspection until the next is begun. One build writes (its lock sees to
that); any number may read, and `reading` keeps what they read from being removed.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cube.chain.key import keys
from cube.chain.key.keys import Ingredients
from cube.chain.store.link import ASIDE, DISK, RECORD, LayerRecord, Link, folder_name, read
from cube.disks import qcow2
from cube.runtime import lock, log
from cube.runtime.atomic import write_whole
from cube.runtime.checksum import sha256
from cube.runtime.errors import ChainError

UNFINISHED = "unfinished"
SKIPPED = ".skipped"
#: Of a version that is none, so many characters are told.
SHOWN = 20
#: Under this name a link waits for its removal; it cannot be found any more.
DOOMED = ".doomed-"


@dataclass(frozen=True, kw_only=True)
class Store:
    """The links of one image, in a folder."""

    folder: Path

    def prepare(self) -> None:
        """Make the folder, finish removals that were cut off, and check its version.

        Raises:
            ChainError: another version of this program made it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "format"
        if not file.exists():
            write_whole(file, f"{keys.FORMAT}\n")
        self.require_format()
        for doomed in self.folder.glob(f"{DOOMED}*"):
            remove_tree(doomed)

    def require_format(self) -> None:
        """Refuse a store whose links may mean something else; one without a version is new.

        Raises:
            ChainError: another version of this program made it.
        """
        file = self.folder / "format"
        if file.exists() and (found := words(file)) != str(keys.FORMAT):
            shown = found if found.isalnum() and len(found) <= SHOWN else repr(found[:SHOWN])
            raise ChainError(
                f"{self.folder}: format {shown}, this cube writes {keys.FORMAT}",
                hint=f"use the cube that made it, or remove the folder: rm -r {self.folder}",
            )

    # -- what there is

    def folders(self) -> list[Path]:
        """Return the folder of every link, whole or damaged, by name.

        Raises:
            ChainError: another version of this program made the store.
        """
        self.require_format()
        return sorted(
            path
            for path in self.folder.glob("*-*")
            if (path.is_dir() or path.is_symlink()) and not path.name.startswith(".")
        )

    def links(self) -> list[Link]:
        """Return every link whose record can be read, oldest first."""
        found: list[Link] = []
        for folder in self.folders():
            try:
                found.append(read(folder))
            except ChainError as error:
                warn_once(f"{error.message}: it is left out (see: cube chain verify)")
        return sorted(found, key=lambda link: link.created)

    def find(self, name: str, key: str) -> Link | None:
        """Return the link of a key that may be reused: there, and not set aside.

        Raises:
            ChainError: another version of this program made the store.
        """
        self.require_format()
        folder = self.folder / folder_name(name, key)
        if not folder.exists():
            return None
        try:
            link = read(folder)
        except ChainError:
            return None
        return None if link.aside or link.key != key else link

    def by_key(self, key: str) -> Link:
        """Return a link by its whole key.

        Raises:
            ChainError: there is none.
        """
        for link in self.links():
            if link.key == key:
                return link
        raise ChainError(f"there is no link {key[:12]} in {self.folder}", hint="cube chain")

    def lineage(self, link: Link) -> list[Link]:
        """Return the link and all below it, base first.

        Raises:
            ChainError: one of them is missing.
        """
        known = {one.key: one for one in self.links()}
        line = [link]
        while parent := line[0].parent:
            if parent not in known:
                raise ChainError(
                    f"{line[0].name} {line[0].short}: the link below it, {parent[:12]}, is missing",
                    hint="cube chain verify; cube build makes it again",
                )
            line.insert(0, known.pop(parent))
        return line

    def descendants(self, link: Link) -> list[Link]:
        """Return all links that stand on a link, lowest first."""
        found: list[Link] = []
        left, level = self.links(), {link.key}
        while children := [one for one in left if one.parent in level]:
            found += children
            left = [one for one in left if one not in children]
            level = {child.key for child in children}
        return found

    # -- the head

    @property
    def head(self) -> Link | None:
        """The link that stands for the state of the image; None before the first build."""
        key = words(self.folder / "head")
        return next((link for link in self.links() if link.key == key), None)

    def set_head(self, link: Link) -> None:
        """Make a link the head."""
        write_whole(self.folder / "head", f"{link.key}\n")

    def require_head(self) -> None:
        """Refuse a store whose head names a link that is not there.

        Raises:
            ChainError: it does.
        """
        key = words(self.folder / "head")
        if key and not self.head:
            raise ChainError(
                f"the head, {key[:12]}, is missing in {self.folder}, or its record is damaged",
                hint="cube build makes it again; cube rollback LINK goes back to another link",
            )

    def current(self) -> list[Link]:
        """Return the links of the head, base first; those made last when there is no head.

        Raises:
            ChainError: a link below the head is missing.
        """
        usable = [link for link in self.links() if not link.skipped and not link.aside]
        head = self.head or next(reversed(usable), None)
        return self.lineage(head) if head else []

    def named(self, name: str) -> Link:
        """Return the link that a person means: of the head's own, else the newest.

        Args:
            name: ``base``, ``layer1`` ..., or the beginning of a key; empty means the head.

        Raises:
            ChainError: none fits; what there is is named.
        """
        current = self.current() if not name or self.head else []
        links = self.links()
        if not name and current:
            return current[-1]
        meant = [link for link in (*current, *reversed(links)) if name and link.goes_by(name)]
        for link in meant:
            if not link.skipped:
                return link
        there = ", ".join(dict.fromkeys(link.name for link in links if not link.skipped))
        hint = f"links: {there}" if there else "make the first: cube build"
        for link in meant:
            raise ChainError(f"{link.name} has no disk, it was skipped: {link.skipped}", hint=hint)
        told = f"there is no link {name!r} in {self.folder}" if name else "there is no link yet"
        raise ChainError(told, hint=hint)

    # -- making links

    @property
    def unfinished(self) -> Path:
        """The disk in the making, or what a failed step left of it."""
        return self.folder / UNFINISHED / DISK

    def begin(self) -> Path:
        """Begin a link without a parent; return where its disk is to be written."""
        self.discard()
        self.unfinished.parent.mkdir(parents=True)
        return self.unfinished

    def extend(self, parent: Link) -> Path:
        """Begin a link on top of another and return its disk, to be written to.

        Raises:
            MachineError: the parent's disk is missing or no qcow2.
        """
        self.begin()
        qcow2.create_overlay(self.unfinished, Path("..", parent.folder.name, DISK))
        return self.unfinished

    def freeze(
        self, ingredients: Ingredients, *, seconds: float, layer: LayerRecord | None = None
    ) -> Link:
        """Make what is unfinished a link: on the medium, read-only, under its name.

        Args:
            ingredients: what made it; its key is their digest.
            seconds: how long that took.
            layer: what became of the layer; None for the base.

        Raises:
            OSError: the disk is full; the unfinished link stays.
        """
        qcow2.sync(self.unfinished)
        self.unfinished.chmod(0o444)
        size, digest = self.unfinished.stat().st_size, sha256(self.unfinished)
        link = self.describe(ingredients, seconds=seconds, layer=layer)
        return self.publish(replace(link, size_bytes=size, sha256=digest), self.folder / UNFINISHED)

    def skip(self, ingredients: Ingredients, layer: LayerRecord) -> Link:
        """Note a layer that does not apply, as a link without a disk."""
        folder = self.folder / SKIPPED
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return self.publish(self.describe(ingredients, seconds=0.0, layer=layer), folder)

    def describe(
        self, ingredients: Ingredients, *, seconds: float, layer: LayerRecord | None
    ) -> Link:
        """Return a link without a disk."""
        key = keys.digest(ingredients)
        return Link(
            folder=self.folder / folder_name(ingredients["name"], key),
            name=ingredients["name"],
            key=key,
            parent=ingredients["parent"],
            refresh=ingredients["refresh"],
            created=datetime.now(UTC).isoformat(),
            seconds=round(seconds, 1),
            size_bytes=0,
            sha256="",
            ingredients=ingredients,
            layer=layer,
        )

    def publish(self, link: Link, folder: Path) -> Link:
        """Write a link's record into the folder of its disk, and give that its name."""
        write_whole(folder / RECORD, link.render())
        qcow2.sync(folder)
        self.clear_for(link)
        folder.rename(link.folder)
        qcow2.sync(self.folder)
        log.debug(f"froze {link.folder} ({link.size_bytes} bytes)")
        return link

    def forget(self, ingredients: Ingredients) -> None:
        """Remove what has the key of a link that is to be made, and all that stands on it.

        Raises:
            BusyError: somebody reads the store.
        """
        self.clear_for(self.describe(ingredients, seconds=0.0, layer=None))

    def clear_for(self, link: Link) -> None:
        """Remove what has a link's key, and all that stands on it or stood on one that is gone.

        The same key made again has other bytes: an overlay on it would be a broken file system.

        Raises:
            BusyError: somebody reads the store.
        """
        if link.folder.exists() or self.descendants(link):
            self.remove([link])

    def discard(self) -> None:
        """Remove an unfinished link."""
        shutil.rmtree(self.folder / UNFINISHED, ignore_errors=True)

    # -- taking links away

    def set_aside(self, links: Sequence[Link]) -> None:
        """Take links out of use; they stay until they are pruned or made anew."""
        for link in links:
            (link.folder / ASIDE).touch()

    def take_back(self, links: Sequence[Link]) -> None:
        """Put links that were set aside to use again."""
        for link in links:
            (link.folder / ASIDE).unlink(missing_ok=True)

    def remove(self, links: Sequence[Link]) -> None:
        """Remove links and all that stands on them.

        Raises:
            BusyError: somebody reads the store.
        """
        with self.alone():
            self.bury(links)

    def bury(self, links: Sequence[Link]) -> None:
        """Remove links and all that stands on them, the highest first; nobody else may read."""
        doomed: dict[str, Link] = {}
        for one in (one for link in links for one in [link, *self.descendants(link)]):
            doomed.pop(one.key, None)  # once more behind what it stands on
            doomed[one.key] = one
        for link in reversed(list(doomed.values())):
            grave = self.folder / f"{DOOMED}{link.folder.name}"
            with contextlib.suppress(FileNotFoundError):
                link.folder.rename(grave)
                remove_tree(grave)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep away who reads while the block runs: between a decision and a removal, say.

        Raises:
            BusyError: somebody reads the store.
        """
        with lock.exclusive(self.folder / ".reading"):
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep every link where it is while the block runs.

        Raises:
            BusyError: links are being removed at this moment.
        """
        with lock.shared(self.folder / ".reading"):
            yield


def remove_tree(path: Path) -> None:
    """Remove a folder, or a symbolic link in its place; what that leads to stays."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


@cache
def warn_once(text: str) -> None:
    """Warn of a damaged link; a command looks at the links many times."""
    log.warning(text)


def words(file: Path) -> str:
    """Return what one of the store's own files says; nothing when it is missing."""
    return file.read_text(errors="replace").strip() if file.exists() else ""
