"""Stage 5: cleans the machine from inside, flattens its disk, judges the result offline."""

import contextlib
import errno
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from cube.config import Spec, mirrors
from cube.config.workspace import Workspace
from cube.disks import ext4, mount
from cube.disks import qcow2 as disks
from cube.machines import BUILD_USER, Endpoint, Machine, ssh
from cube.provision import pytest_run
from cube.provision.pytest_run import CheckRun
from cube.runtime import log, run
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import DISK_FULL, MAKE_ROOM, CommandError, MachineError, SealError
from cube.seal import leaks, repack
from cube.seal.flatten import compress
from cube.seal.flatten.extents import extents_of

SCRIPT = Path(__file__).with_name("clean.sh")
PRESETS = Path(__file__).resolve().parents[2] / "guest/presets.sh"
#: Where the guest script, its settings and its log lie: in memory, never on the disk.
GUEST_DIR = "/run/cube-seal"
#: The script's last act, and what it leaves instead when a step fails; below the root.
DONE = Path("var/lib/cube/sealed")
FAILED = Path("var/lib/cube/seal-failed")

#: Seconds for the guest script; 25 s were measured without KVM, trust stores take longer.
CLEAN_S = 600.0
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


def clean(machine: Machine, spec: Spec, *, work: Path) -> None:
    """Remove what belongs to one machine or to the build; the guest then powers itself off.

    Args:
        machine: up, on a fresh overlay over the last link.
        spec: says what stays.
        work: folder for what looking at the disk needs.

    Raises:
        SealError: a step failed; its name and the script's log are told.
        MachineError: the guest did not power off.
    """
    with log.step("Cleaning the machine"):
        start_script(machine.endpoint, spec)
        machine.wait_until_off(CLEAN_S)
    with log.step("Reading whether it is clean"):
        expect_sealed(machine.disk, work)


def start_script(endpoint: Endpoint, spec: Spec) -> None:
    """Start the guest script, detached: it ends the login that started it."""
    put = f"sudo install -d -m 700 {GUEST_DIR} && sudo tee {GUEST_DIR}/%s >/dev/null"
    ssh.execute(endpoint, put % "clean.sh", stdin=SCRIPT.read_text())
    ssh.execute(endpoint, put % PRESETS.name, stdin=PRESETS.read_text())
    ssh.execute(endpoint, put % "settings", stdin=render_settings(endpoint.key_file, spec))
    ssh.execute(
        endpoint,
        f"sudo systemd-run --quiet --collect --unit=cube-seal sh {GUEST_DIR}/clean.sh",
        accept=(0, ssh.BROKEN),
    )


def render_settings(key_file: Path, spec: Spec) -> str:
    """Return the variables that the guest script reads."""
    public = key_file.with_name(f"{key_file.name}.pub").read_text().split()[1]
    variables = {
        "BUILD_USER": BUILD_USER,
        "BUILD_KEY": public,
        "KEEP_CA": "yes" if spec.network.keep_ca_certificates else "no",
        "KEEP_IMAGES": "yes" if spec.stack.images else "no",
        "PROXY": spec.network.proxy,
        "REMAINS": "\n".join(mirrors.remains(spec)),
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())


def expect_sealed(disk: Path, work: Path) -> None:
    """Believe only what the script left on the disk.

    Raises:
        SealError: the mark of its end is missing.
    """
    with mount.mounted(disk, work / "mount") as root:
        read_mark(root, disk)


def read_mark(root: Path, disk: Path) -> None:
    """Read the script's mark in a mounted root.

    Raises:
        SealError: it says that a step failed, or there is none.
    """
    if (root / FAILED).exists():
        first, _, rest = (root / FAILED).read_text(errors="replace").partition("\n")
        raise SealError(
            f"the machine could not be cleaned: {first}",
            hint="the script's log is below; correct the layer that leaves this behind",
            details=run.tail(rest),
        )
    if not (root / DONE).exists():
        raise SealError(
            f"{disk}: the machine went off before it was clean: /{DONE} is missing",
            hint="look at its console log; the build can be tried again",
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
        raise SealError(f"{what}: {error!r}", hint="is memory free? see: free -m") from error
    except (CommandError, MachineError) as error:
        full = os.strerror(errno.ENOSPC) in error.details
        raise SealError(
            f"{what}: {error.message}",
            hint=MAKE_ROOM if full else "is the chain whole? see: cube chain verify",
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
            hint="deleted data would be delivered; build it again, and report it",
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
