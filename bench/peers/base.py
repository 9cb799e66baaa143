"""The bare OS that every box is an overlay of, and packages that are loaded before the race."""

import os
import platform
from pathlib import Path
from typing import Any

from bench import project
from bench.peers import application, box
from bench.peers.application import SOURCE, Workshop
from bench.peers.playbook import OS
from bench.peers.variants import BY_NAME
from cube import log
from cube.chain.store import Store
from cube.errors import CubeError


def bare(disk: Path | None, build: Path | None, cache: Path) -> Path:
    """Return a disk of the bare OS: the given one, that of a build, or one that is built now.

    Raises:
        CubeError: the given one is not there, or it cannot be built.
    """
    if disk:
        if not disk.is_file():
            raise CubeError(f"{disk}: there is no such disk", hint="give --base a qcow2 file")
        return disk.resolve()
    if build:
        return Store(folder=build.resolve() / OS / "chain").named("base").disk
    copied = project.copy(cache / "project", SOURCE / "cube.toml", image=OS)
    with log.step("Building the bare OS"):
        copied.build(to="base")
    return copied.store.named("base").disk


def warm(disk: Path, shop: Workshop, cache: tuple[int, Path]) -> None:
    """Load every package once, by a first application that is no figure."""
    stamp = cache[1].with_name("warm")
    if stamp.exists() and stamp.read_text() == str(disk):
        return
    with (
        log.step("Filling the cache of packages"),
        box.started("warm", disk, shop.folder / "warm", cache) as one,
        box.farther(one, [0]),
    ):
        application.apply(BY_NAME["cube"], one, 0, shop)
    stamp.write_text(str(disk))


def host() -> dict[str, Any]:
    """Say where it was measured."""
    return {"processors": os.cpu_count(), "kernel": platform.release(),
            "Python": platform.python_version()}  # fmt: skip
