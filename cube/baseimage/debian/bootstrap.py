"""A bare Debian without an installer: mmdebstrap makes the tree, cube.disks.gpt the disk."""

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cube.baseimage import base_files
from cube.config import Layout, Spec, mirrors, proxy_environment
from cube.config.workspace import Workspace
from cube.disks import gpt, presets, shape
from cube.runtime import lifetime, log, run
from cube.runtime.errors import CommandError, HostError, PackerError
from cube.supply import trust
from cube.supply.package_cache import PackageCache, carries, poisoned, suspect

SUITE = "trixie"
#: Enough for an unhurried mirror; a mirror that cannot be reached fails within seconds.
TIMEOUT_S = 1800
#: The kernel's metapackage by `spec.os.debian.kernel`.
KERNELS = {"generic": "linux-image-amd64", "cloud": "linux-image-cloud-amd64"}
#: What boots, has a network, lets cloud-init and ssh in. Everything else is layer 1's.
PACKAGES = (
    "ca-certificates", "cloud-guest-utils", "cloud-init", "dbus", "dosfstools", "e2fsprogs",
    "grub-efi-amd64-bin", "grub-efi-amd64-signed", "grub-pc-bin", "grub2-common",
    "initramfs-tools", "netplan.io", "openssh-server", "python3", "qemu-guest-agent",
    "shim-signed", "sudo", "systemd-resolved", "systemd-sysv", "systemd-timesyncd", "udev",
)  # fmt: skip
#: What only one of the layouts needs.
LAYOUT_PACKAGES: dict[Layout, tuple[str, ...]] = {"plain": (), "lvm": ("lvm2",)}
#: Where the mirrors' logins are while a tree is made. Source: apt_auth.conf(5).
LOGINS = "/etc/apt/auth.conf.d/99cube-build-mirror.conf"
#: Newer than /usr: what dpkg has made a moment ago (the linker's cache, accounts, the journal's
#: catalogue) is not made again by the first boot. Source: systemd-update-done.service(8).
UPDATED = ("etc/.updated", "var/.updated")

#: The builder's own resolver, which systemd-resolved keeps when it takes over the file.
#: Source: systemd-resolved's postinst in Debian.
RESOLVERS = ("etc/.resolv.conf.systemd-resolved.bak",)

FSTAB = f"""\
LABEL={shape.ROOT_LABEL} / ext4 errors=remount-ro 0 1
LABEL={shape.ESP_LABEL} /boot/efi vfat {shape.ESP_OPTIONS} 0 2
"""


def sources(spec: Spec) -> list[str]:
    """Return apt's one-line sources that a tree is made from; the image gets others."""
    return mirrors.debian_sources(*mirrors.addresses(spec))


def mmdebstrap_args(
    spec: Spec, tree: Path, logins: Path | None = None, bundle: Path | None = None
) -> list[str]:
    """Return the command that fills `tree`.

    Args:
        spec: which kernel, from which mirrors.
        tree: the folder.
        logins: file with the mirrors' logins, which apt has while it works.
        bundle: the certificates that apt trusts; None: what this machine trusts.
    """
    kernel = KERNELS[spec.os.debian.kernel]
    packages = (*PACKAGES, *LAYOUT_PACKAGES[spec.image.disk_layout], kernel)
    there = f'"$1"{LOGINS}'
    lend = [
        f"--setup-hook=install -D -m 600 {shlex.quote(str(logins))} {there}",
        f"--customize-hook=rm {there}",
    ]
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        f"--include={','.join(packages)}",
        '--aptopt=Acquire::Retries "2"',
        '--aptopt=Acquire::http::Timeout "20"',
        '--aptopt=Acquire::https::Timeout "20"',
        *([f'--aptopt=Acquire::https::CAInfo "{bundle}"'] if bundle else []),
        *(lend if logins else []),
        '--customize-hook=rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
        SUITE,
        str(tree),
        *sources(spec),
    ]


@contextlib.contextmanager
def lent_logins(spec: Spec, folder: Path) -> Iterator[Path | None]:
    """Write the mirrors' logins to a file that only we read, while the block runs."""
    text = mirrors.logins(spec)
    if not text:
        yield None
        return
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix="logins-") as file:
        file.write(text)
        file.flush()
        yield Path(file.name)


def make_cached_tree(spec: Spec, tree: Path, cache: PackageCache | None) -> None:
    """Fill a folder with a Debian system; a cache that spoils it is left aside.

    Raises:
        HostError: see `make_tree`.
        PackerError: see `make_tree`.
    """
    if not all(map(carries, mirrors.addresses(spec))):
        cache = None
    try:
        make_tree(spec, tree, cache=cache.url if cache else "")
    except PackerError as error:
        if cache is None or not suspect(error):
            raise
        log.warning(f"retrying without the package cache, which may be at fault: {error.message}")
        if poisoned(error):
            cache.distrust()
        make_tree(spec, tree)


def make_tree(spec: Spec, tree: Path, *, cache: str = "") -> None:
    """Fill a folder with a Debian system.

    Args:
        spec: which kernel, from which mirror.
        tree: the folder; what is in it goes.
        cache: URL of a cache that packages come through.

    Raises:
        HostError: mmdebstrap is missing, or we are not root.
        PackerError: the packages could not be had or installed; apt's words are in the details.
    """
    shutil.rmtree(tree, ignore_errors=True)
    tree.parent.mkdir(parents=True, exist_ok=True)
    heard: list[str] = []

    def on_line(line: str) -> None:
        log.debug(line)
        heard.append(line)
        if line.startswith("I: "):
            log.status(f"mmdebstrap: {line[3:]}")

    proxies = {**proxy_environment(spec), **({"http_proxy": cache} if cache else {})}
    with lent_logins(spec, tree.parent) as logins, trust.bundle(spec) as bundle:
        code = run.stream(
            lifetime.with_descendants(mmdebstrap_args(spec, tree, logins, bundle)),
            on_line=on_line,
            timeout_s=TIMEOUT_S,
            env={**proxies, "TMPDIR": str(tree.parent)},
        )
    if code != 0:
        raise mmdebstrap_error(spec, code, heard)


def mmdebstrap_error(spec: Spec, code: int, heard: Sequence[str]) -> PackerError:
    """Say why there is no tree, with apt's own errors first."""
    errors = [line for line in heard if line.startswith("E: ")]
    archive, security = mirrors.addresses(spec)
    return PackerError(
        f"mmdebstrap could not bootstrap Debian {SUITE} from {archive} and {security}"
        f" (exit code {code})",
        hint="check that both can be reached from here; [network] in cube.toml has apt_mirror,"
        " apt_security_mirror and proxy",
        details=run.tail("\n".join(errors or heard)),
    )


def finish_tree(spec: Spec, tree: Path) -> None:
    """Write what makes the tree one of ours; clear what only this machine has."""
    for source in (tree / "etc/apt/sources.list.d").glob("*"):
        source.unlink()
    own, text = mirrors.image_sources("debian-13")
    files = base_files.files(spec)
    for name, content in {**files, "etc/fstab": FSTAB, own: text}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(base_files.mode_of(name))
    for name, target in base_files.LINKS.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).unlink(missing_ok=True)
        (tree / name).symlink_to(target)
    (tree / "etc/machine-id").write_text("uninitialized\n")
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (tree / "boot/efi").mkdir(exist_ok=True)
    for name in RESOLVERS:
        (tree / name).unlink(missing_ok=True)
    for name in UPDATED:
        (tree / name).touch()


def keep_units(tree: Path) -> None:
    """Let the first boot of a tree change no unit; its own systemctl says what each is."""
    presets.write(tree, lambda *words: run.run(["chroot", tree, "systemctl", *words]).stdout)


def bootstrap(spec: Spec, workspace: Workspace, cache: PackageCache | None = None) -> Path:
    """Make a disk with a bare Debian that boots by BIOS and by UEFI.

    Args:
        spec: what it is.
        workspace: where.
        cache: what packages come through.

    Returns:
        The raw disk image; sparse, in the build's scratch folder.

    Raises:
        HostError: a tool is missing, or we are not root.
        PackerError: the tree or the disk could not be made.
    """
    folder = workspace.work / "bootstrap"
    tree, image = folder / "tree", folder / "disk.img"
    if os.geteuid() != 0:
        raise HostError("mmdebstrap needs root to make a Debian tree", hint="run this with sudo")
    try:
        with log.step("Bootstrapping Debian with mmdebstrap"):
            make_cached_tree(spec, tree, cache)
            finish_tree(spec, tree)
            keep_units(tree)
        with log.step("Making the disk"):
            gpt.make_disk(tree, image, spec.image.disk_layout)
    except CommandError as error:
        raise PackerError(error.message, hint=error.hint, details=error.details) from error
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    return image
