"""The Ubuntu installer under Packer: from the ISO to a bare disk that has not booted yet."""

from pathlib import Path

from cube.baseimage.packer import evidence, inputs, seed, template
from cube.baseimage.ubuntu import autoinstall, iso
from cube.config import Spec, ca_files
from cube.config.workspace import Workspace
from cube.machines.qemu import accelerator, firmware
from cube.machines.seed import build_seed
from cube.runtime import log, run
from cube.runtime.errors import CommandError, PackerError

#: Kernel and initial RAM disk on the ISO. Source: casper(7), the live system's layout.
KERNEL, INITRD = "/casper/vmlinuz", "/casper/initrd"


def install(spec: Spec, workspace: Workspace, *, key_file: Path) -> Path:
    """Install Ubuntu onto a new disk.

    Args:
        spec: where the ISO is, and what is installed.
        workspace: scratch, and the cache for the ISO.
        key_file: the build's private key; its public half is let in.

    Returns:
        The installed raw disk image.

    Raises:
        PackerError: the ISO is not what it should be, or the installation did not end well.
    """
    assert spec.os.ubuntu is not None
    folder = inputs.Folder.of(workspace)
    folder.work.mkdir(parents=True, exist_ok=True)
    with log.step("Fetching the installer"):
        image = iso.fetch(
            spec.os.ubuntu.iso_url,
            spec.os.ubuntu.iso_sha256,
            workspace.cache,
            proxy=spec.network.proxy,
            trust=ca_files(spec),
        )
        extract(image, {KERNEL: folder.kernel, INITRD: folder.initrd})
    key = key_file.with_name(f"{key_file.name}.pub").read_text().strip()
    seed.write(folder.install_seed, autoinstall.render_user_data(spec, key), build_seed(key))
    firmware.copy_variables(folder.work)
    with log.step("Installing Ubuntu"):
        run_installer(spec, workspace, image)
    folder.disk.replace(folder.installed)
    return folder.installed


def run_installer(spec: Spec, workspace: Workspace, image: Path) -> None:
    """Run the installer until it powers off, and believe the disk only if it says so itself."""
    folder = inputs.Folder.of(workspace)
    found = accelerator.find()
    limit_s = inputs.INSTALL_TIMEOUT_S[found]
    assert spec.os.ubuntu is not None
    sha256 = spec.os.ubuntu.iso_sha256
    values = {
        **inputs.hardware(spec, found),
        **inputs.installer(spec, folder, iso=image, iso_sha256=sha256, timeout_s=limit_s),
    }
    template.build(spec, workspace, values, source="install", what="installer", wait_s=limit_s)
    try:
        evidence.check(folder.disk, autoinstall.INSTALLED)
    except (PackerError, CommandError) as error:
        raise template.explained(error, "installer", folder) from error


def extract(image: Path, files: dict[str, Path]) -> None:
    """Copy files out of an ISO.

    Raises:
        PackerError: it is no ISO, or lacks one of them.
    """
    words: list[str | Path] = ["xorriso", "-osirrox", "on", "-indev", image]
    for inside, outside in files.items():
        outside.unlink(missing_ok=True)
        words += ["-extract", inside, outside]
    try:
        run.run(words)
    except CommandError as error:
        raise PackerError(
            f"{image}: not an Ubuntu live-server ISO ({', '.join(files)} cannot be read from it)",
            hint='set iso_url and iso_sha256 in [os."ubuntu-24.04"] to a live-server ISO',
            details=error.output,
        ) from error
    for outside in files.values():
        outside.chmod(0o644)
