"""Stage 5: cleans the disk, flattens it, checks the result offline."""

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from cube.config import Spec
from cube.config.workspace import Workspace
from cube.disks import ext4, mount
from cube.disks import qcow2 as disks
from cube.provision import pytest_run
from cube.provision.pytest_run import CheckRun
from cube.runtime import log
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import DISK_FULL, MAKE_ROOM, CommandError, MachineError, SealError
from cube.seal import leaks, repack
from cube.seal.cleaning import steps
from cube.seal.cleaning.settings import settings_of
from cube.seal.flatten import compress
from cube.seal.flatten.extents import extents_of

NOT_COMPRESSED = "the image could not be compressed"
NOT_COPIED = "the files could not be copied onto new file systems"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes: of the chain's files before, of the artifact after, and as a guest sees it."""

    before: int
    after: int
    virtual: int


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the sealed disk showed without being booted; `root_bytes` is its root's size."""

    checks: CheckReport
    root_bytes: int


def clean(disk: Path, spec: Spec, *, key_file: Path, work: Path) -> None:
    """Remove what belongs to one machine or to the build from a disk.

    Args:
        disk: of a machine that is off; a fresh overlay over the last link.
        spec: says what stays.
        key_file: the build's private key; its public half is beside it.
        work: folder for what mounting needs.

    Raises:
        SealError: something cannot be cleaned, or remains of the build are left.
    """
    with log.step("Cleaning the disk"):
        steps.clean_disk(disk, settings_of(spec, key_file), work / "mount")


def read_mark(root: Path, disk: Path) -> None:
    """Read the mark of the cleaning in a mounted root.

    Raises:
        SealError: there is none: the disk was not cleaned to the end.
    """
    if not (root / steps.DONE).exists():
        raise SealError(
            f"{disk}: was not cleaned: /{steps.DONE} is missing",
            hint="build again; if this recurs, report it",
        )


@contextlib.contextmanager
def repacked(disk: Path, spec: Spec, work: Workspace) -> Iterator[Path]:
    """Write the files of a clean disk onto new file systems, for the time of the block.

    Args:
        disk: top of the chain, of a machine that is off.
        spec: what the build knows, and an image must not.
        work: where the build is.

    Yields:
        The raw disk.

    Raises:
        SealError: the disk has another shape, a file differs, there is no room, or the disk
            gives the build away.
    """
    target, folder = work.work / "repacked.raw", work.work / "repack"
    try:
        with log.step("Copying the files onto new file systems"), explained(NOT_COPIED):
            parts = repack.repack(disk, target, folder)
        with (
            log.step("Searching the disk for what only the build knows"),
            repack.copied(target, parts, folder) as root,
        ):
            leaks.expect_none(target, parts, leaks.needles(spec, work), root)
        yield target
    finally:
        target.unlink(missing_ok=True)


def flatten(disk: Path, target: Path) -> Sizes:
    """Write a disk with its whole chain as one compressed file, and compare both.

    Args:
        disk: top of the chain, of a machine that is off, or a raw file.
        target: the file to write, under a temporary name.

    Raises:
        SealError: the chain cannot be read, or the disk is full; nothing is left at `target`.
        MachineError: what was written is corrupt, or reads otherwise than the disk.
    """
    try:
        with log.step("Compressing the image"), explained(NOT_COMPRESSED):
            before = chain_bytes(disk)
            compress.flatten(disk, target, on_part=tell_part)
        with log.step("Comparing it with the disk"):
            disks.check(target)
            disks.compare(disk, target)
        disks.sync(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    virtual = disks.virtual_bytes(target)
    return Sizes(before=before, after=target.stat().st_size, virtual=virtual)


def chain_bytes(disk: Path) -> int:
    """Return the space that a disk and the chain below it take."""
    return sum(path.stat().st_blocks * 512 for path in disks.chain_of(disk))


def tell_part(part: float) -> None:
    """Tell how much of the disk, 0 to 1, is compressed."""
    log.status(f"compressing the image {part:.0%}")


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Say of what fails in the block what it was.

    Args:
        what: "the image could not be compressed".

    Raises:
        SealError: it failed.
    """
    try:
        yield
    except OSError as error:
        hint = MAKE_ROOM if error.errno in DISK_FULL else "look at the disk: dmesg"
        raise SealError(f"{what}: {error}", hint=hint) from error
    except (MemoryError, zstandard.ZstdError) as error:
        raise SealError(f"{what}: {error!r}", hint="check the free memory: free -m") from error
    except (CommandError, MachineError) as error:
        full = os.strerror(errno.ENOSPC) in error.details
        raise SealError(
            f"{what}: {error.message}",
            hint=MAKE_ROOM if full else "check the chain: cube chain verify",
            details=error.details,
        ) from error


def expect_no_residue(artifact: Path, work: Path) -> None:
    """Read every block of the root that no file uses, and the journal: all must be zeros.

    Raises:
        SealError: something is left there.
    """
    written = [(one.start, one.length) for one in extents_of(artifact)]
    with log.step("Reading the free blocks"), repack.opened(artifact, work / "blocks") as shown:
        found = ext4.read(shown.cell.path(shown.raw), shown.root_part.start)
        places = ext4.residues(found, written)
    if places:
        raise SealError(
            f"{artifact}: {len(places)} runs of free blocks are not zero, the first at byte "
            f"{places[0]} of the root",
            hint="deleted data would be shipped; build again, and report this",
        )


def inspect(artifact: Path, spec: Spec, *, work: Path, results: Path) -> Inspection:
    """Judge a sealed disk offline with the hygiene checks; the file is opened read-only.

    Args:
        artifact: the compressed file.
        spec: what is expected.
        work: folder for what mounting needs.
        results: folder of pytest's logs.

    Raises:
        SealError: a block that no file uses is not zero.
        CheckError: a check failed.
    """
    expect_no_residue(artifact, work)
    with log.step("Checking the sealed image"), mount.mounted(artifact, work / "mount") as root:
        read_mark(root, artifact)
        report = pytest_run.run_checks(
            CheckRun(
                target=root,
                select=["checks/hygiene"],
                spec_file=spec.file,
                results_dir=results,
                name="hygiene",
            )
        )
        size = os.statvfs(root)
    return Inspection(checks=report, root_bytes=size.f_frsize * size.f_blocks)
