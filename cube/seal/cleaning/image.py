"""A mounted root in which the image's own programs run, without a boot."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.disks import mount
from cube.runtime.namespaces import Cell
from cube.seal.cleaning.tree import Tree

#: Seconds for one program; trust stores take the longest.
PROGRAM_S = 300.0
#: The image's own folders of programs; nothing of this machine's variables reaches it.
VARIABLES = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root")
#: Devices that programs may expect; none of this machine's.
DEVICES = tuple(f"/dev/{name}" for name in ("full", "null", "random", "urandom", "zero"))
#: Hidden while a program runs: what it writes there is gone with it.
SCRATCH = ("dev", "run", "tmp")


@dataclass(frozen=True, kw_only=True)
class Image:
    """The root of a disk, mounted writable in a cell."""

    cell: Cell
    #: As the cell sees it.
    root: Path

    @property
    def tree(self) -> Tree:
        """Its files, as this process sees them."""
        return Tree(self.cell.path(self.root))

    def run(self, *argv: str) -> str:
        """Run a program of the image with its own root; return what it printed.

        Raises:
            CommandError: it failed, or is missing.
        """
        with self._system():
            clean = ("env", "--ignore-environment", *VARIABLES)
            words = [*clean, "chroot", str(self.root), *argv]
            return self.cell.execute(words, timeout_s=PROGRAM_S).stdout

    @contextlib.contextmanager
    def _system(self) -> Iterator[None]:
        """Mount what programs need: devices, processes, and memory for temporary files."""
        with contextlib.ExitStack() as mounts:
            for name in SCRATCH:
                self._mount(mounts, name, "-t", "tmpfs", "tmpfs")
            self._mount(mounts, "proc", "-t", "proc", "proc")
            self.cell.execute(["cp", "--archive", *DEVICES, self.root / "dev"])
            yield

    def _mount(self, mounts: contextlib.ExitStack, name: str, *what: str) -> None:
        target = self.root / name
        self.cell.execute(["mount", *what, target])
        mounts.callback(self.cell.execute, ["umount", target])


@contextlib.contextmanager
def opened(disk: Path, work: Path) -> Iterator[Image]:
    """Mount the file systems of a disk whose machine is off, to be changed.

    Args:
        disk: qcow2 file.
        work: folder for what mounting needs.

    Raises:
        MachineError: the disk cannot be opened, or holds no root.
    """
    with mount.opened(disk, work, writable=True) as (cell, root):
        yield Image(cell=cell, root=root)
