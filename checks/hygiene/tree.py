"""A mounted image, read without ever leaving it: its links are followed inside it only."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

#: Links followed before a path counts as a loop. Source: path_resolution(7), 40 since Linux 4.2.
MAX_LINKS = 40


class Tree:
    """The files of an image whose root is mounted at `root`. Names are relative to that root."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, name: str) -> Path:
        """Return where a name of the image is on this machine, links followed as it would.

        Raises:
            OSError: the links form a loop.
        """
        parts, here, links = list(reversed(PurePosixPath(name).parts)), self.root, 0
        while parts:
            part = parts.pop()
            if part in ("/", ".."):
                here = self.root if part == "/" or here == self.root else here.parent
                continue
            if not (here / part).is_symlink():
                here /= part
                continue
            links += 1
            if links > MAX_LINKS:
                raise OSError(f"{name}: too many links")
            parts += reversed((here / part).readlink().parts)
        return here

    def exists(self, name: str) -> bool:
        """Tell whether the image has a file or folder of this name, or a link of it."""
        return os.path.lexists(self.path(str(PurePosixPath(name).parent)) / Path(name).name)

    def text(self, name: str) -> str:
        """Return a file's text; a file that is not there has none."""
        path = self.path(name)
        return path.read_text(errors="replace") if path.is_file() else ""

    def lines(self, name: str) -> list[str]:
        """Return a file's lines that say something: no blank ones, no comments."""
        lines = [line.strip() for line in self.text(name).splitlines()]
        return [line for line in lines if line and not line.startswith(("#", ";", "//"))]

    def find(self, *patterns: str) -> list[str]:
        """Return what matches a glob; ``**`` is any depth. No link to a folder is followed."""
        return sorted({name for one in patterns for name in self._match("", one.split("/"))})

    def _match(self, folder: str, parts: list[str]) -> Iterator[str]:
        head, rest = parts[0], parts[1:]
        if head == "**" and rest:
            yield from self._match(folder, rest)
        place = self.root / folder
        for entry in os.scandir(place) if place.is_dir() else ():
            name = entry.name
            inside = f"{folder}/{name}" if folder else name
            is_folder = entry.is_dir(follow_symlinks=False)
            if not rest and fnmatchcase(name, head):
                yield inside
            if is_folder and head == "**":
                yield from self._match(inside, parts)
            elif is_folder and rest and fnmatchcase(name, head):
                yield from self._match(inside, rest)

    def files(self, *patterns: str) -> list[str]:
        """Return the regular files that match a glob."""
        return [
            name
            for name in self.find(*patterns)
            if (self.root / name).is_file() and not (self.root / name).is_symlink()
        ]
