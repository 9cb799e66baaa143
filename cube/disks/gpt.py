"""A GPT disk image from a tree, in the shape of `cube.disks.shape`: no partitions of loop devices.

Everything is written at offsets of one sparse file, so that it works where loop devices have
no partitions, and nothing is left mounted when it is interrupted.
"""

import shutil
import struct
from pathlib import Path

from cube.disks import loop, lvm, shape
from cube.disks.shape import BIOS_AT, BIOS_MIB, ESP_AT, ESP_MIB, MIB, ROOT_AT, Layout
from cube.runtime import run

SECTOR = 512
#: Bytes of a cluster of the EFI system partition. mkfs.fat chooses by the size of the whole file,
#: which may leave FAT32 too few clusters to be read as such. Source: dosfstools 4.2; findings/.
FAT_CLUSTER = 4096
#: Room beside the tree's own size: the first boot writes before the root has grown.
SLACK_MIB = 768

#: A fixed set, not the host's defaults: a newer mke2fs turns on features (orphan_file,
#: metadata_csum_seed) that a boot loader or an older kernel cannot read.
#: Source: ext4(5), "FILE SYSTEM FEATURES".
EXT4_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)

#: GPT type of the partition that holds grub's core image.
#: Source: GRUB manual, "BIOS installation".
BIOS_BOOT_TYPE = "21686148-6449-6E6F-744E-656564454649"
#: Type of the root partition, in sfdisk's words, by the layout.
ROOT_TYPES: dict[Layout, str] = {"plain": "linux", "lvm": "lvm"}

#: Run by GRUB for either firmware, which knows the root by its label only.
GRUB_START = f"""\
search.fs_label {shape.ROOT_LABEL} root
set prefix=($root)/boot/grub
"""
#: What signed GRUB reads on the EFI partition, beside it.
ESP_START = f"{GRUB_START}configfile $prefix/grub.cfg\n"

#: Modules inside the core image for BIOS; signed GRUB for UEFI has all of them.
BIOS_MODULES = ("biosdisk", "part_gpt", "ext2", "lvm", "search_label")

#: The signed boot loaders in a tree, by their name on the EFI partition. Shim starts grubx64.efi
#: beside it, and the firmware starts BOOTX64.EFI where it knows of no other.
#: Source: UEFI specification, 3.5.1.1 "Removable Media Boot Behavior"; the packages shim-signed,
#: shim-helpers-amd64-signed and grub-efi-amd64-signed.
SHIM = "usr/lib/shim/shimx64.efi.signed"
SIGNED = {
    "grubx64.efi": "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    "mmx64.efi": "usr/lib/shim/mmx64.efi.signed",
}
#: Folders of the EFI partition with shim's name in each; signed GRUB looks into the second one
#: first, as its prefix is built in.
ESP_FOLDERS = {"EFI/BOOT": "BOOTX64.EFI", "EFI/debian": "shimx64.efi"}


def grub_menu(layout: Layout) -> str:
    """Return what boots the machine until update-grub has run in it."""
    return f"""\
set timeout=0
menuentry "Debian" {{
    search --no-floppy --label {shape.ROOT_LABEL} --set=root
    linux /vmlinuz root={shape.root_device(layout)} ro console=tty0 console=ttyS0,115200
    initrd /initrd.img
}}
"""


def partition_table(layout: Layout) -> str:
    """Return the partitions in the language of sfdisk(8)."""
    return (
        "label: gpt\nunit: sectors\n"
        f"start={BIOS_AT}MiB, size={BIOS_MIB}MiB, type={BIOS_BOOT_TYPE}, name=bios\n"
        f"start={ESP_AT}MiB, size={ESP_MIB}MiB, type=uefi, name=esp\n"
        f"start={ROOT_AT}MiB, type={ROOT_TYPES[layout]}, name=root\n"
    )


def tree_mib(tree: Path) -> int:
    """Return the room that a tree takes, in MiB."""
    return int(run.run(["du", "-sxm", tree]).stdout.split()[0])


def make_disk(tree: Path, image: Path, layout: Layout) -> None:
    """Write a tree, with GRUB for BIOS and UEFI added to it, onto a new disk image.

    Args:
        tree: root of a system with GRUB's modules, tools and signed images in it.
        image: raw file, made or replaced; sparse, about `SLACK_MIB` larger than the tree.
        layout: of the root.

    Raises:
        CommandError: a program failed or is missing.
    """
    add_grub(tree, layout)
    extents = -(-(tree_mib(tree) + SLACK_MIB) // shape.EXTENT_MIB)
    root_mib = extents * shape.EXTENT_MIB
    before_mib = shape.PV_START_MIB if layout == "lvm" else 0
    with image.open("wb") as file:
        file.truncate((ROOT_AT + before_mib + root_mib + 1) * MIB)
    run.run(["sfdisk", "--quiet", image], stdin=partition_table(layout))
    if layout == "lvm":
        size = (before_mib + root_mib) * MIB
        with loop.attached(image, offset=ROOT_AT * MIB, size=size) as device:
            lvm.create(device)
    start, size = (ROOT_AT + before_mib) * MIB, root_mib * MIB
    run.run(root_args(tree, image, at=start, size=size))
    write_esp(tree, image)
    write_bios_boot(tree, image)


def root_args(tree: Path, image: Path, *, at: int, size: int, uuid: str = "") -> list[str]:
    """Build the command that writes a tree as a file system into an image.

    Args:
        tree: folder with the files.
        image: raw file.
        at: where the file system begins, in bytes.
        size: its size in bytes.
        uuid: its UUID; empty draws one.
    """
    extended = f"offset={at},lazy_itable_init=0,lazy_journal_init=0"
    name = ["-L", shape.ROOT_LABEL, *(["-U", uuid] if uuid else [])]
    layout = ["-b", "4096", "-I", "256", "-m", "1", "-O", EXT4_FEATURES]
    head = ["mke2fs", "-q", "-F", "-t", "ext4", *name, *layout]
    return [*head, "-d", str(tree), "-E", extended, str(image), f"{size // 1024}k"]


def add_grub(tree: Path, layout: Layout) -> None:
    """Put modules, the core image for BIOS and a first menu where grub-install puts them."""
    grub = tree / "boot/grub"
    grub.mkdir(parents=True, exist_ok=True)
    (grub / "start.cfg").write_text(GRUB_START)
    (grub / "grub.cfg").write_text(grub_menu(layout))
    for platform in ("i386-pc", "x86_64-efi"):
        shutil.copytree(tree / "usr/lib/grub" / platform, grub / platform, dirs_exist_ok=True)
    run.run(
        [
            *("chroot", tree, "grub-mkimage", "-O", "i386-pc", "-p", "/boot/grub"),
            *("-c", "/boot/grub/start.cfg", "-o", "/boot/grub/i386-pc/core.img"),
            *BIOS_MODULES,
        ]
    )


def write_esp(tree: Path, image: Path) -> None:
    """Make the EFI system partition with the signed chain: shim, GRUB, and MokManager."""
    make_esp(image, at=ESP_AT * MIB, size=ESP_MIB * MIB)
    esp = f"{image}@@{ESP_AT}M"
    run.run(["mmd", "-i", esp, "::EFI", *[f"::{folder}" for folder in ESP_FOLDERS]])
    for folder, shim in ESP_FOLDERS.items():
        run.run(["mcopy", "-i", esp, tree / SHIM, f"::{folder}/{shim}"])
        for name, source in SIGNED.items():
            run.run(["mcopy", "-i", esp, tree / source, f"::{folder}/{name}"])
        run.run(["mcopy", "-i", esp, "-", f"::{folder}/grub.cfg"], stdin=ESP_START)


def make_esp(image: Path, *, at: int, size: int, serial: str = "") -> None:
    """Make an empty file system for the EFI system partition.

    Args:
        image: raw file.
        at: where the partition begins, in bytes.
        size: its size in bytes.
        serial: eight hexadecimal digits; empty draws them.
    """
    name = ["-n", shape.ESP_LABEL, *(["-i", serial] if serial else [])]
    place = ["-s", str(FAT_CLUSTER // SECTOR), "--offset", str(at // SECTOR)]
    run.run(["mkfs.vfat", "-F", "32", *name, *place, image, str(size // 1024)])


def write_bios_boot(tree: Path, image: Path) -> None:
    """Write grub's core image into the BIOS boot partition and its first stage into sector 0."""
    folder = tree / "boot/grub/i386-pc"
    with image.open("r+b") as file:
        table = file.read(SECTOR)
        file.seek(0)
        file.write(boot_sector((folder / "boot.img").read_bytes(), table))
        file.seek(BIOS_AT * MIB)
        file.write(core_image((folder / "core.img").read_bytes()))


def boot_sector(boot: bytes, table: bytes) -> bytes:
    """Return sector 0: grub's code, told where the core image lies, and the disk's table.

    Source: grub 2.12, include/grub/i386/pc/boot.h (KERNEL_SECTOR 0x5c, DRIVE_CHECK 0x66,
    WINDOWS_NT_MAGIC 0x1b8) and util/setup.c, which does the same to a block device.
    """
    sector = bytearray(boot)
    sector[0x1B8:0x1FE] = table[0x1B8:0x1FE]
    struct.pack_into("<Q", sector, 0x5C, BIOS_AT * MIB // SECTOR)
    sector[0x66:0x68] = b"\x90\x90"
    return bytes(sector)


def core_image(core: bytes) -> bytes:
    """Return the core image, told in its first sector where its other sectors lie.

    Source: grub 2.12, struct grub_pc_bios_boot_blocklist (start, length, segment) at the end of
    the first sector, and util/setup.c.

    Raises:
        ValueError: it is larger than its partition.
    """
    if len(core) > BIOS_MIB * MIB:
        raise ValueError(f"grub's core image has {len(core)} bytes, more than {BIOS_MIB} MiB")
    sectors = -(-len(core) // SECTOR)
    image = bytearray(core.ljust(sectors * SECTOR, b"\0"))
    struct.pack_into("<QHH", image, 0x1F4, BIOS_AT * MIB // SECTOR + 1, sectors - 1, 0x820)
    return bytes(image)
