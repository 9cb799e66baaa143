"""An image in a folder, whose programs are only noted."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from cube.runtime.namespaces import Cell
from cube.seal.cleaning.image import Image
from cube.seal.cleaning.settings import Settings
from cube.seal.cleaning.tree import Tree

SETTINGS = Settings(user="cube-build", public_key="AAAAC3NzaC1lZDI1NTE5AAAAIExample")


@dataclass(frozen=True, kw_only=True)
class Folder(Image):
    """An image that is no disk; `answers` are outputs of its programs by their first word."""

    ran: list[tuple[str, ...]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def tree(self) -> Tree:
        return Tree(self.root)

    def run(self, *argv: str) -> str:
        self.ran.append(argv)
        return self.answers.get(argv[0], "")

    def plant(self, *names: str, text: str = "planted\n") -> None:
        """Write files; a name that ends in a slash is a folder."""
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.write_text(text)

    def names(self) -> set[str]:
        """Return the files, links and empty folders that there are."""
        return {
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_symlink() or path.is_file() or not any(path.iterdir())
        }


@pytest.fixture
def image(tmp_path: Path) -> Folder:
    root = tmp_path / "root"
    root.mkdir()
    return Folder(cell=cast(Cell, None), root=root)
