"""The bare OS that every box is an overlay of, and packages that are loaded before the race."""

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

from bench import project
from bench.peers import application, box
from bench.peers.application import SOURCE, Workshop
from bench.peers.playbook import OS
from bench.peers.variants import BY_NAME
from cube.chain.store.links import Store
from cube.machines.qemu import accelerator
from cube.runtime import log
from cube.runtime.errors import CubeError

#: The cube.toml that is measured.
SPEC = """
[admin]
ssh_keys = ["{key}"]
[layers]
enabled = [1]
{roles}
[build]
dir = "{folder}/build"
[network]
ca_certificates = "none"
"""
#: Lists of packages are kept that long: an archive's signature of them ends. In seconds.
#: Source: apt-secure(8); Debian's security archive says Valid-Until a week ahead.
FRESH_S = 24 * 3600


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
    shutil.rmtree(cache / "project", ignore_errors=True)
    copied = project.copy(cache / "project", SOURCE / "cube.toml", image=OS)
    with log.step("Building the bare OS"):
        copied.build(to="base")
    return copied.store.named("base").disk


def warm(disk: Path, shop: Workshop, cache: tuple[int, Path]) -> None:
    """Load every package once, by a first application that is no figure."""
    stamp, packages = cache[1].with_name("warm"), cache[1].with_name("packages")
    if stamp.exists() and time.time() - stamp.stat().st_mtime < FRESH_S:
        if stamp.read_text() == str(disk):
            return
    elif packages.exists():
        for file in packages.iterdir():
            file.unlink()
    with (
        log.step("Filling the cache of packages"),
        box.started("warm", disk, shop.folder / "warm", cache) as one,
        box.farther(one, [0]),
    ):
        application.apply(BY_NAME["cube"], one, 0, shop)
    stamp.write_text(str(disk))


def host() -> dict[str, Any]:
    """Say where it was measured."""
    return {"processors": os.cpu_count(), "virtual machines by": accelerator.find(),
            "kernel": platform.release(), "Python": platform.python_version()}  # fmt: skip
