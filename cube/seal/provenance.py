"""Who built an image and where: the version of cube, its commit, the host."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cube import __version__
from cube.machines import Kind
from cube.runtime import log, run
from cube.runtime.errors import CommandError

PROJECT = Path(__file__).resolve().parents[2]

Accelerator = Literal["kvm", "hvf", "tcg"]


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The commit of the checkout; `dirty` when files differ from it."""

    commit: str
    dirty: bool


@dataclass(frozen=True, kw_only=True)
class Host:
    """The machine that built. `machine` is where the layers were applied."""

    accelerator: Accelerator
    machine: Kind
    cores: int
    kernel: str
    os: str


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Who built an image; `git` is None outside a checkout."""

    cube: str
    git: Commit | None
    host: Host


def describe_builder(*, accelerator: Accelerator, machine: Kind) -> Builder:
    """Return what there is to say of this program and this host."""
    host = Host(
        accelerator=accelerator,
        machine=machine,
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        os=platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
    )
    return Builder(cube=__version__, git=read_commit(PROJECT), host=host)


def read_commit(folder: Path) -> Commit | None:
    """Return the commit of a checkout, or None where there is none.

    A folder inside somebody else's checkout is none: an installed package must not claim it.
    """
    if not (folder / ".git").exists():
        return None
    git = ["git", "-c", f"safe.directory={folder}", "-C", str(folder)]
    try:
        commit = run.run([*git, "rev-parse", "HEAD"]).stdout.strip()
        changes = run.run([*git, "status", "--porcelain"]).stdout
    except CommandError as error:
        log.warning(f"the commit of {folder} cannot be read: {error.message}")
        return None
    return Commit(commit=commit, dirty=bool(changes.strip()))
