"""Stage 2: from a specification to base.qcow2, a bare OS that has proven itself."""

import secrets
import shutil
from pathlib import Path

from cube.baseimage.debian import bootstrap
from cube.baseimage.packer import evidence, inputs, seed, template
from cube.baseimage.ubuntu import installer
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines.qemu import accelerator
from cube.machines.seed import build_seed, render_user_data
from cube.runtime import log, run
from cube.runtime.errors import CommandError, PackerError
from cube.supply.package_cache import PackageCache

#: Writing the qcow2 file.
FREEZE_S = 1200


def build_base(
    spec: Spec,
    workspace: Workspace,
    *,
    key_file: Path,
    target: Path,
    cache: PackageCache | None = None,
) -> Path:
    """Make the bare OS image.

    Args:
        spec: which OS, how large.
        workspace: where scratch files and downloads go.
        key_file: the build's private key (mode 600), its public half beside it as ``.pub``.
        target: the qcow2 file to write.
        cache: what Debian's packages come through; an installer has its own ways.

    Returns:
        The image: booted once, its root grown, shut down; the build key opens `BUILD_USER`.

    Raises:
        PackerError: it could not be made, or does not prove itself; there is no `target` then.
        HostError: this machine lacks a tool or a right.
    """
    folder = inputs.Folder.of(workspace)
    shutil.rmtree(folder.work, ignore_errors=True)
    if spec.image.os == "debian-13":
        disk = bootstrap.bootstrap(spec, workspace, cache)
    else:
        disk = installer.install(spec, workspace, key_file=key_file)
    with log.step("Booting the bare image for the first time"):
        proven = first_boot(spec, workspace, disk, key_file=key_file)
    disk.unlink()
    with log.step("Writing the base image"):
        return convert(proven, target)


def first_boot(
    spec: Spec,
    workspace: Workspace,
    disk: Path,
    *,
    key_file: Path,
    boot_timeout_s: int | None = None,
) -> Path:
    """Boot a bare disk under Packer, on a grown copy of it, until it has proven itself.

    Args:
        spec: which OS, how large.
        workspace: scratch and cache.
        disk: a raw image; it is left as it is.
        key_file: see `build_base`.
        boot_timeout_s: seconds until sshd must let the key in; None knows by itself.

    Returns:
        The grown copy, a raw file in the build's scratch folder.

    Raises:
        PackerError: see `build_base`.
    """
    folder = inputs.Folder.of(workspace)
    # The seed of every later machine of this build: for cloud-init they are one instance.
    nocloud = build_seed(public_key(key_file))
    seed.write(folder.seed, render_user_data(nocloud), nocloud)
    found = accelerator.find()
    nonce = secrets.token_hex(16)
    limit_s = boot_timeout_s or inputs.BOOT_TIMEOUT_S[found]
    values = inputs.hardware(spec, found) | inputs.first_boot(
        spec, folder, disk=disk, key_file=key_file, nonce=nonce, timeout_s=limit_s
    )
    template.build(spec, workspace, values, source="first-boot", what="first boot", wait_s=limit_s)
    try:
        evidence.check(folder.disk, nonce)
    except (PackerError, CommandError) as error:
        raise template.explained(error, "first boot", folder) from error
    return folder.disk


def public_key(key_file: Path) -> str:
    """Return the public half of the build key."""
    return key_file.with_name(f"{key_file.name}.pub").read_text().strip()


def convert(raw: Path, target: Path) -> Path:
    """Write the base image from a proven disk."""
    argv: run.Argv = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "-W",
        "-m",
        "8",
        raw,
        target,
    ]
    try:
        run.run(argv, timeout_s=FREEZE_S)
    except CommandError as error:
        target.unlink(missing_ok=True)
        raise PackerError(error.message, details=error.details) from error
    shutil.rmtree(raw.parent, ignore_errors=True)
    return target
