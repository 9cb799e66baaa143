"""A mounted root: files are found and removed without ever leaving it."""

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

#: Symbolic links followed before a path counts as a loop. Source: path_resolution(7).
MAX_LINKS = 40


class Tree:
    """The files below a root. Names are relative to it; its links lead to places inside it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, name: str, *, follow: bool = False) -> Path:
        """Return where a name is on this machine.

        Args:
            name: below the root.
            follow: a link at its end is followed, too.

        Raises:
            OSError: links form a loop.
        """
        parts, here, links = list(reversed(PurePosixPath(name).parts)), self.root, 0
        while parts:
            part = parts.pop()
            if part in ("/", ".."):
                here = self.root if part == "/" or here == self.root else here.parent
            elif (parts or follow) and (here / part).is_symlink():
                links += 1
                if links > MAX_LINKS:
                    raise OSError(f"/{name}: too many symbolic links")
                parts += reversed((here / part).readlink().parts)
            else:
                here /= part
        return here

    def find(self, *patterns: str) -> list[Path]:
        """Return what matches the patterns; `*` and `?` match within one part, also a dot."""
        return [path for pattern in patterns for path in self._match(pattern.split("/"), "")]

    def _match(self, parts: list[str], folder: str) -> Iterator[Path]:
        head, rest = parts[0], parts[1:]
        for name in self._names(folder, head):
            inside = f"{folder}/{name}" if folder else name
            if rest:
                yield from self._match(rest, inside)
            else:
                yield self.path(inside)

    def _names(self, folder: str, pattern: str) -> list[str]:
        place = self.path(folder, follow=True)
        if not any(sign in pattern for sign in "*?["):
            return [pattern] if os.path.lexists(place / pattern) else []
        if not place.is_dir():
            return []
        return sorted(path.name for path in place.iterdir() if fnmatchcase(path.name, pattern))

    def remove(self, *patterns: str) -> None:
        """Remove files, links, and folders with all that is in them."""
        for path in (found for pattern in patterns for found in self.find(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def empty(self, *folders: str) -> None:
        """Remove everything in folders; the folders stay."""
        self.remove(*(f"{folder}/*" for folder in folders))

    def files(self, folder: str) -> Iterator[Path]:
        """Yield the regular files below a folder of the same file system, links not followed."""
        top = self.path(folder, follow=True)
        if not top.is_dir():
            return
        device = top.stat().st_dev
        for place, folders, names in os.walk(top):
            here = Path(place)
            folders[:] = [name for name in folders if (here / name).lstat().st_dev == device]
            for name in sorted(names):
                if not (here / name).is_symlink() and (here / name).is_file():
                    yield here / name

    def read(self, name: str) -> str:
        """Return a file's text; one that is missing has none."""
        path = self.path(name, follow=True)
        return path.read_text() if path.is_file() else ""

    def write(self, name: str, text: str) -> None:
        """Write a file, in place when it is there: its owner and mode stay."""
        path = self.path(name, follow=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def name(self, path: Path) -> str:
        """Return what the image calls a path."""
        return f"/{path.relative_to(self.root)}"
