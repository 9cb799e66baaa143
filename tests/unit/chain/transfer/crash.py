"""Lives of links that are cut off: a process dies at every step of them.

A program, because a fork wants a process with one thread. It tells the steps as lines of JSON,
and leaves for each of them the store as the dead process left it.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube.chain import rollback
from cube.chain.store import links as store_module
from cube.chain.store.links import Store
from cube.chain.transfer import archive, export, import_links
from cube.disks import qcow2
from tests.unit.chain import samples


def freeze(store: Store) -> None:
    """A layer is made on the highest link and becomes the head."""
    store.set_head(samples.add_layer(store, 3, store.named("layer2")))


def skip(store: Store) -> None:
    """A layer does not apply, and the next build says so again, in the place of the first."""
    for _ in range(2):
        samples.skip_layer(store, 3, store.named("layer2"))


def replace(store: Store) -> None:
    """A layer is made once more, in the place of what was there and of what stands on that."""
    base = store.named("base")
    store.forget(samples.layer(1, base))
    store.set_head(samples.add_layer(store, 1, base))


def remove(store: Store) -> None:
    """A link is removed with what stands on it."""
    store.remove(store.links()[1:2])


def prepare(store: Store) -> None:
    """A store gets its format, and a removal that was cut off is finished."""
    (store.folder / "format").unlink(missing_ok=True)
    link = store.named("layer2")
    link.folder.rename(store.folder / f".doomed-{link.folder.name}")
    store.prepare()


def roll(store: Store) -> None:
    """A layer is rolled back, and taken back."""
    rollback.rollback(store, "layer1")
    assert [link.name for link in store.links() if link.aside] == ["layer2"]
    take_back(store)


def take_back(store: Store) -> None:
    """A layer that was rolled back becomes the head again."""
    rollback.rollback(store, "layer2")
    assert store.head == store.named("layer2")
    assert not any(link.aside for link in store.links())


def take_in(store: Store) -> None:
    """A layer comes in from an archive."""
    import_links.take_in(store, store.folder.parents[1] / ARCHIVE, os_name=OS)


def pack(template: Path, target: Path) -> None:
    """Make the archive, of the template's links and one more."""
    store = Store(folder=shutil.copytree(template, target / "packed" / "chain"))
    line = store.lineage(samples.add_layer(store, 3, store.named("layer2")))
    index = archive.describe(store, line, os_name=OS, head=line[-1])
    export.export(target / ARCHIVE, line, index)


ARCHIVE, OS = "chain.tar", "debian-13"
LIVES: dict[str, Callable[[Store], None]] = {
    life.__name__: life for life in (freeze, skip, remove, prepare, roll, take_in)
}
#: What changes something on the medium, and so may be the last thing that happened.
STEPS = [
    (os, name)
    for name in ("chmod", "fsync", "mkdir", "rename", "replace", "rmdir", "unlink", "utime")
]
OTHER_STEPS = [(qcow2, "create_overlay"), (samples, "write"), (store_module, "sha256")]


@dataclass
class Steps:
    """Counts the steps of a life; this process dies before the one of number `last`."""

    last: int
    note: Path
    reached: int = 0

    def reach(self, name: str, before: Callable[[], object] = lambda: None) -> None:
        """Go on to a step, or die before it."""
        if self.reached == self.last:
            before()
            self.note.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)
        self.reached += 1

    def watch(self, owner: Any, name: str) -> None:
        """Make a function a step."""
        function = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            file = Path(f"/proc/self/fd/{args[0]}").readlink() if name == "fsync" else args[0]
            self.reach(f"{name} {Path(file).name}")
            if name == "fsync" and file.is_file():
                self.reach(f"power cut {file.name}", lambda: lose_half(file))
            return function(*args, **kwargs)

        setattr(owner, name, watched)


def lose_half(file: Path) -> None:
    """Lose half of what was not on the medium yet."""
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)


def live(life: str, store: Store, steps: Steps) -> None:
    """Go through a life in a process of its own, to its end or to its last step."""
    for owner, name in [*STEPS, *OTHER_STEPS]:
        steps.watch(owner, name)
    LIVES[life](store)


def cut_off(life: str, template: Path, target: Path, last: int) -> str:
    """Let a process die at a step; return the step, or nothing when the life came to its end."""
    folder, note = target / f"{last}" / "chain", target / f"{last}.step"
    shutil.copytree(template, folder)
    if (pid := os.fork()) == 0:
        try:
            live(life, Store(folder=folder), Steps(last=last, note=note))
        except BaseException as error:  # told to the parent
            note.write_text(repr(error))
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status not in {0, -signal.SIGKILL}:
        raise RuntimeError(f"{life}: {note.read_text()}")
    return note.read_text() if status else ""


def main(life: str, template: str, target: str) -> None:
    """Cut a life off at every step of it."""
    pack(Path(template), Path(target))
    last = 0
    while step := cut_off(life, Path(template), Path(target), last):
        print(json.dumps({"step": step, "store": f"{target}/{last}/chain"}))  # noqa: T201
        last += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
