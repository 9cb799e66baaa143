#!/usr/bin/python3
"""Install the distribution's boot loaders where the firmware starts them, when they are outdated.

    cube-boot-loader [--force]

An update of GRUB or shim changes files below /usr only. This program compares them with what the
machine boots from, and runs grub-install where they differ: into the BIOS boot partition of the
disk with the root, and, signed for Secure Boot, onto the EFI system partition, also under the name
that firmware starts on a disk that it does not know. Its unit runs at every boot, and apt starts
it after each change of packages.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

SHIM = "usr/lib/shim/shimx64.efi.signed"
GRUB = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
#: Names on the EFI system partition. Source: UEFI specification, 3.5.1.1.
ESP_FILES = {SHIM: "EFI/BOOT/BOOTX64.EFI", GRUB: "EFI/BOOT/grubx64.efi"}
#: Made when all is up to date: what was unpacked later has a newer change time.
STAMP = "var/lib/cube/boot-loader"
#: Files of GRUB's folder for BIOS that grub-install copies as they are.
COPIED = ("*.mod", "boot.img")


def ask(*argv: str) -> str:
    """Return what a program prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def differs(one: Path, other: Path) -> bool:
    """Tell whether a file is missing, or is another one."""
    return not other.is_file() or one.read_bytes() != other.read_bytes()


def bios_outdated(root: Path) -> bool:
    """Tell whether the modules of GRUB for BIOS differ from those of the package."""
    package, used = root / "usr/lib/grub/i386-pc", root / "boot/grub/i386-pc"
    files = [file for pattern in COPIED for file in package.glob(pattern)]
    return any(differs(file, used / file.name) for file in files)


def efi_outdated(root: Path) -> bool:
    """Tell whether shim or GRUB on the EFI system partition differ from those of the packages."""
    esp = root / "boot/efi"
    known = {root / source: esp / name for source, name in ESP_FILES.items()}
    return any(source.is_file() and differs(source, used) for source, used in known.items())


def disk_of_root() -> str:
    """Return the disk that holds the root file system, through LVM too."""
    device = ask("findmnt", "--noheadings", "--nofsroot", "--output", "SOURCE", "/")
    rows = ask("lsblk", "--inverse", "--noheadings", "--raw", "--output", "TYPE,PATH", device)
    disks = [path for kind, path in map(str.split, rows.splitlines()) if kind == "disk"]
    if len(disks) != 1:
        found = ", ".join(disks) or "no disk"
        sys.exit(f"cube-boot-loader: / is on {found}: run grub-install for each disk by hand")
    return disks[0]


def system_id(root: Path) -> str:
    """Return the name of the folder that the signed GRUB looks into: debian, ubuntu."""
    lines = (root / "etc/os-release").read_text().splitlines()
    return next(line.partition("=")[2].strip('"') for line in lines if line.startswith("ID="))


def install(target: str, *words: str) -> None:
    """Run grub-install for a target."""
    subprocess.run(["grub-install", f"--target={target}", *words], check=True)
    print(f"cube-boot-loader: GRUB for {target} is installed", flush=True)


def install_signed(root: Path) -> None:
    """Install the signed chain under the distribution's name, and under the removable one.

    Debian's grub-install needs an option for the second; Ubuntu's has none, does it by itself, and
    leaves the signed GRUB out: shim would only start a program that writes a boot entry.
    """
    extra = "--force-extra-removable"
    known = extra in ask("grub-install", "--help")
    name = f"--bootloader-id={system_id(root)}"
    words = ["--efi-directory=/boot/efi", name, "--no-nvram", "--uefi-secure-boot"]
    install("x86_64-efi", *words, *([extra] if known else []))
    for source, name in ESP_FILES.items():
        used = root / "boot/efi" / name
        if (root / source).is_file() and differs(root / source, used):
            new = used.with_name(f"{used.name}.new")
            shutil.copyfile(root / source, new)
            new.replace(used)


def main() -> None:
    """Compare, and install what is outdated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--force", action="store_true", help="install even what is up to date")
    force, root = parser.parse_args().force, Path("/")
    try:
        if force or bios_outdated(root):
            install("i386-pc", disk_of_root())
        if (root / "boot/efi").is_mount() and (force or efi_outdated(root)):
            install_signed(root)
        (root / STAMP).parent.mkdir(parents=True, exist_ok=True)
        (root / STAMP).touch()
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip()
        sys.exit(f"cube-boot-loader: {' '.join(error.cmd)}: exit code {error.returncode} {said}")


if __name__ == "__main__":
    main()
