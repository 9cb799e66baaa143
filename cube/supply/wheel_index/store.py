"""The folder that keeps wheels, by their checksums, and pages."""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from cube.runtime import documents
from cube.supply.wheel_index.page import Page

#: Files that were not wanted for so long are removed. In seconds.
KEEP_S = 30 * 24 * 3600
#: What is not whole yet ends so.
PART = ".part"
#: So ends a page that is no longer believed: it is given where the index is away.
DOUBTED = ".doubted"
BLOCK = 1024**2


class Shelf:
    """What is kept.

    Args:
        folder: where.
        floor_bytes: space that must stay free on its disk: it is the build's.
    """

    def __init__(self, folder: Path, floor_bytes: int) -> None:
        self.files, self.pages = folder / "files", folder / "pages"
        self.floor_bytes = floor_bytes
        self._copies: set[Copy] = set()
        self._mutex = threading.RLock()

    def file(self, name: str) -> Path | None:
        """Return the file of a sha256 if it is kept; it counts as wanted now."""
        path = self.files / name
        if not name or not path.is_file():
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return path

    @contextlib.contextmanager
    def copy(self, sha256: str, size_bytes: int) -> Iterator["Copy"]:
        """Keep a file while it passes; nothing of it stays unless it is whole.

        Args:
            sha256: of the file, and its name; empty: it is not kept.
            size_bytes: how much will come; 0 when that is not known.
        """
        made = Copy(self.files / sha256, size_bytes)
        try:
            if sha256 and self.promise(made):
                made.begin()
            yield made
        finally:
            made.drop()
            with self._mutex:
                self._copies.discard(made)

    def promise(self, made: "Copy") -> bool:
        """Tell whether there is room for a copy; if so, it is the copy's until that ends."""
        with self._mutex:
            room = self.has_room(made.missing_bytes)
            if room:
                self._copies.add(made)
            return room

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether a file can be kept, and the build has what it needs once all have come."""
        with self._mutex:  # before what is free: a byte that is written meanwhile counts twice
            promised = sum(copy.missing_bytes for copy in self._copies)
        try:
            self.files.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.files).free
        except OSError:
            return False
        return free - promised - size_bytes >= self.floor_bytes

    def keep_page(self, index: str, name: str, page: Page) -> None:
        """Keep a page for a day without a network; where that fails, there will be none."""
        if not page["files"] or not self.has_room(0):
            return
        path = self.page_path(index, name)
        part = path.with_name(f"{path.name}.{threading.get_ident()}{PART}")
        with contextlib.suppress(OSError):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(page))
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)

    def page(self, index: str, name: str, *, doubted: bool = False) -> Page | None:
        """Return a page that was kept; it counts as wanted now.

        Args:
            index: whose page it is.
            name: of the package.
            doubted: one that is doubted is better than none.
        """
        path = self.page_path(index, name)
        for one in (path, path.with_suffix(DOUBTED)) if doubted else (path,):
            with contextlib.suppress(OSError, ValueError):
                os.utime(one)
                return cast(Page, documents.parse(one.read_text()))
        return None

    def doubt_page(self, index: str, name: str) -> None:
        """Believe a page no longer: the index is asked first."""
        path = self.page_path(index, name)
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(DOUBTED))

    def page_path(self, index: str, name: str) -> Path:
        """Return where a page of an index is kept."""
        return self.pages / hashlib.sha256(index.encode()).hexdigest()[:16] / f"{name}.json"

    def clear(self, *, verify: bool = False) -> None:
        """Remove what is not whole, and what nobody has wanted for long.

        Args:
            verify: read every file, remove those that are not what they are called, and doubt
                every page.
        """
        oldest = time.time() - KEEP_S
        for path in [*self.files.glob("*"), *self.pages.glob("*/*")]:
            with contextlib.suppress(OSError):
                old = path.suffix == PART or path.stat().st_mtime < oldest
                if old or (verify and path.parent == self.files and not is_sound(path)):
                    path.unlink()
                elif verify and path.parent != self.files:
                    path.replace(path.with_suffix(DOUBTED))


def is_sound(path: Path) -> bool:
    """Tell whether a file is what its name says."""
    value = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            value.update(block)
    return value.hexdigest() == path.name


class Copy:
    """A file that is written while it passes; a disk that is full only ends the writing.

    Args:
        final: the file when it is whole.
        size_bytes: how much will come; 0 when that is not known.
    """

    def __init__(self, final: Path, size_bytes: int) -> None:
        self._final = final
        self._part = final.with_name(f"{final.name}.{threading.get_ident()}{PART}")
        self._stream: Any = None
        self._sum = hashlib.sha256()
        #: How much is still to be written.
        self.missing_bytes = size_bytes
        #: Whether the file has its name.
        self.kept = False

    @property
    def part(self) -> Path | None:
        """Where it is written; None: it is not."""
        return self._part if self._stream else None

    def begin(self) -> None:
        """Start to keep."""
        with contextlib.suppress(OSError):
            self._stream = self._part.open("wb")

    def add(self, data: bytes) -> None:
        """Take what has passed."""
        if not self._stream:
            return
        self._sum.update(data)
        try:
            self._stream.write(data)
            self._stream.flush()  # somebody may read it behind us
            self.missing_bytes = max(0, self.missing_bytes - len(data))
        except OSError:
            self.drop()

    def finish(self) -> str:
        """Give the file its name, if it is right; return what is wrong, or nothing."""
        if not self._stream:
            return ""
        if self._sum.hexdigest() != self._final.name:
            self.drop()
            return f"its sha256 is {self._sum.hexdigest()}"
        try:
            self._stream.close()
            self._part.replace(self._final)
        except OSError as error:
            return str(error)
        self.kept = True
        return ""

    def drop(self) -> None:
        """Leave nothing behind, unless it is finished."""
        if self._stream:
            with contextlib.suppress(OSError):
                self._stream.close()
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
        self._stream = None
        self.missing_bytes = 0
