"""A first boot of the image starts nothing that is off, and leaves on what is on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from checks.hygiene.tree import Tree

#: Where units, their symbolic links and presets are. Source: systemd.unit(5), "Unit File Load
#: Path"; systemd.preset(5).
FOLDERS = (
    "etc/systemd", "usr/lib/systemd/system", "usr/lib/systemd/user",
    "usr/lib/systemd/system-preset", "usr/lib/systemd/user-preset", "usr/local/lib/systemd",
    "usr/share/systemd/user", "usr/local/share/systemd/user",
)  # fmt: skip
#: The image's own systemctl, started by its own loader: versions judge presets differently.
LOADER, LIBRARIES = "lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"

States = dict[str, str]


class Copy:
    """A copy of the units of an image that may be changed."""

    def __init__(self, image: Tree, root: Path) -> None:
        self.root = root
        loader, libraries = image.path(LOADER), image.path(LIBRARIES)
        own = [
            loader,
            "--library-path",
            f"{libraries}:{libraries}/systemd",
            image.path("usr/bin/systemctl"),
        ]
        self.systemctl = own if loader.exists() else ["systemctl"]
        (root / "lib").symlink_to("usr/lib")
        for folder in filter(image.exists, FOLDERS):
            (root / folder).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", image.path(folder), root / folder], check=True)

    def run(self, *words: str) -> str:
        """Run systemctl on the copy. It ends with 1 where a unit is masked."""
        argv = [*self.systemctl, f"--root={self.root}", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def states(self) -> Iterator[tuple[str, str]]:
        """Yield what each unit is, of the system and of every user."""
        for scope in ("--system", "--global"):
            listed = self.run(scope, "--no-legend", "--full", "list-unit-files")
            for line in listed.splitlines():
                unit, state = line.split()[:2]
                yield f"{unit} {scope}", state


@pytest.fixture
def copy(image: Tree) -> Iterator[Copy]:
    """Return a copy of the image's units, outside it."""
    with TemporaryDirectory(prefix="cube-units-") as folder:
        yield Copy(image, Path(folder))


def test_a_first_boot_changes_no_unit(copy: Copy) -> None:
    before = dict(copy.states())
    for scope in ("--system", "--global"):
        copy.run(scope, "preset-all")
    after = dict(copy.states())
    names = sorted(before.keys() | after.keys())
    changed = [
        f"{name}: {before.get(name)} -> {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    assert changed == []
