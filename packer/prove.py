"""Check the first boot of a bare OS and leave the build's nonce on its disk.

Runs as root in the guest, by its own Python, as the last thing before it is shut down.
cube.baseimage reads the nonce back from the disk.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MARK = Path("/var/lib/cube/base")
#: Bytes that may be left: a table at the disk's end, LVM's own data, a block group of ext4.
DISK_END, VOLUME_DATA, BLOCK_GROUP = 2 << 20, 8 << 20, 64 << 20
#: Source: /sys/class/block/*/start counts sectors of 512 bytes on every disk.
SECTOR = 512
BLOCK = Path("/sys/class/block")
ROOTS = ("root=LABEL=cube-root ", "root=/dev/mapper/cube-root ")
#: What the distribution's own tools write for BIOS and for UEFI.
LOADERS = (Path("/boot/grub/i386-pc/boot.img"), Path("/boot/efi/EFI/BOOT/grubx64.efi"))
LOADER_UNIT = "cube-boot-loader.service"
#: What this kernel's AppArmor can do: layer 1 compiles the profiles for it, where that is quick.
FEATURES = Path("/sys/kernel/security/apparmor/features")
KEPT_FEATURES = Path("/usr/share/cube/apparmor-features")


class Unproven(Exception):
    """The bare OS is not as it should be; the text says why."""


def ask(*argv: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, whatever its exit code is."""
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)


def read(*argv: str) -> str:
    """Return what a program prints.

    Raises:
        Unproven: it failed.
    """
    done = ask(*argv)
    if done.returncode != 0:
        raise Unproven(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def tell(text: str) -> None:
    """Print for Packer's log."""
    sys.stderr.write(f"{text.rstrip()}\n")


def check_cloud_init() -> None:
    """Check that cloud-init ended well."""
    if ask("cloud-init", "status", "--wait").returncode != 0:
        tell(ask("cloud-init", "status", "--long").stdout)
        raise Unproven("cloud-init did not end well")


def check_units() -> None:
    """Check that every unit is up and none has failed."""
    done = ask("systemctl", "is-system-running", "--wait")
    if done.returncode == 0:
        return
    failed = read("systemctl", "--failed", "--plain", "--no-legend").splitlines()
    for unit in [line.split()[0] for line in failed if line.strip()]:
        tell(journal(unit, "--lines=15", "--output=short-monotonic"))
    raise Unproven(f"the system is {done.stdout.strip()}")


def journal(unit: str, *options: str) -> str:
    """Return the journal of a unit since the boot."""
    return ask("journalctl", "--boot", "--no-hostname", f"--unit={unit}", *options).stdout


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of the disk, to the end of the root's partition, of what it holds, of the root."""

    disk: int
    part_end: int
    part: int
    volume: int
    filesystem: int


def read_sizes() -> Sizes:
    """Read how large the root is, and what it lies on."""
    root = read("findmnt", "--noheadings", "--nofsroot", "--output", "SOURCE", "/").strip()
    listed = read(
        "lsblk", "--inverse", "--json", "--list", "--bytes", "--output", "NAME,TYPE,SIZE", root
    )
    rows = {row["type"]: row for row in json.loads(listed)["blockdevices"]}
    start = int((BLOCK / rows["part"]["name"] / "start").read_text())
    part = int(rows["part"]["size"])
    return Sizes(
        disk=int(rows["disk"]["size"]),
        part_end=start * SECTOR + part,
        part=part,
        volume=int(read("blockdev", "--getsize64", root)),
        filesystem=filesystem_bytes(read("dumpe2fs", "-h", root)),
    )


def filesystem_bytes(listed: str) -> int:
    """Return the size of an ext4 file system from what dumpe2fs prints of its superblock."""
    fields = dict(line.split(":", 1) for line in listed.splitlines() if ":" in line)
    return int(fields["Block count"]) * int(fields["Block size"])


def check_growth(sizes: Sizes) -> None:
    """Check that partition, volume and file system of the root have grown to the disk's end."""
    for what, have, of, left in (
        ("the partition of the root", sizes.part_end, sizes.disk, DISK_END),
        ("the volume of the root", sizes.volume, sizes.part, VOLUME_DATA),
        ("the file system of the root", sizes.filesystem, sizes.volume, BLOCK_GROUP),
    ):
        if have < of - left:
            raise Unproven(f"{what} has {have} of {of} bytes: it did not grow")


def check_passwords(shadow: str) -> None:
    """Check that nobody gets in without a key."""
    rows = [line.split(":") for line in shadow.splitlines()]
    if empty := [row[0] for row in rows if row[1:2] == [""]]:
        raise Unproven(f"an account has an empty password: {', '.join(empty)}")


def check_boot_menu() -> None:
    """Write the boot menu and check that it names the root by its label."""
    read("update-grub")
    menu = Path("/boot/grub/grub.cfg").read_text()
    if not any(root in menu for root in ROOTS):
        raise Unproven("the boot menu does not name the root")


def check_boot_loaders() -> None:
    """Remove the boot loaders and let their unit install them, as after an update of GRUB."""
    for path in (*LOADERS, Path("/var/lib/cube/boot-loader")):
        path.unlink(missing_ok=True)
    started = ask("systemctl", "start", LOADER_UNIT).returncode == 0
    if not started or not all(path.is_file() and path.stat().st_size for path in LOADERS):
        tell(journal(LOADER_UNIT, "--output=cat"))
        raise Unproven("the boot loaders could not be installed: see the lines above")


def keep_apparmor_features() -> None:
    """Keep what the kernel's AppArmor can do, for builds on a kernel without it."""
    if not FEATURES.is_dir():
        return
    shutil.rmtree(KEPT_FEATURES, ignore_errors=True)
    KEPT_FEATURES.mkdir(parents=True)
    for path in sorted(FEATURES.rglob("*")):
        target = KEPT_FEATURES / path.relative_to(FEATURES)
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())  # a pseudo file has no size


def leave_mark(nonce: str) -> None:
    """Write the nonce, and everything else, to the disk."""
    MARK.parent.mkdir(parents=True, exist_ok=True)
    MARK.write_text(f"{nonce}\n")
    os.sync()


def main() -> int:
    """Make every check and return the exit code."""
    try:
        check_cloud_init()
        check_units()
        check_growth(sizes := read_sizes())
        check_passwords(Path("/etc/shadow").read_text())
        check_boot_menu()
        check_boot_loaders()
        keep_apparmor_features()
        leave_mark(os.environ["CUBE_NONCE"])
    except Unproven as error:
        tell(f"cube: {error}")
        return 1
    sys.stdout.write(f"cube: proven, root has {sizes.volume >> 20} MiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
