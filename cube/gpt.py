"""A GPT disk image from a tree: BIOS boot partition, ESP, ext4 root last. No loop devices.

Everything is written at offsets of one sparse file, so that it works where loop devices have
no partitions, and nothing is left mounted when it is interrupted.
"""

import shutil
import struct
from pathlib import Path

from cube import run, shape

MIB = 1024 * 1024
SECTOR = 512
#: Partition sizes and starts, in MiB. The root follows, to the end of the disk.
BIOS_AT, BIOS_MIB = 1, 1
ESP_AT, ESP_MIB = 2, 64
ROOT_AT = ESP_AT + ESP_MIB
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

#: Run by grub's core image, which knows the root by its label only.
GRUB_START = f"""\
search.fs_label {shape.ROOT_LABEL} root
set prefix=($root)/boot/grub
"""

#: What boots the machine until update-grub has run in it.
GRUB_MENU = f"""\
set timeout=0
menuentry "Debian" {{
    search --no-floppy --label {shape.ROOT_LABEL} --set=root
    linux /vmlinuz root=LABEL={shape.ROOT_LABEL} ro console=tty0 console=ttyS0,115200
    initrd /initrd.img
}}
"""

#: grub's platforms: folder of its modules, core image, modules inside the core image.
GRUB_PLATFORMS = {
    "i386-pc": ("core.img", ("biosdisk", "part_gpt", "ext2", "search_label")),
    "x86_64-efi": ("core.efi", ("part_gpt", "fat", "ext2", "search_label")),
}


def partition_table() -> str:
    """Return the layout in the language of sfdisk(8)."""
    return (
        "label: gpt\nunit: sectors\n"
        f"start={BIOS_AT}MiB, size={BIOS_MIB}MiB, type={BIOS_BOOT_TYPE}, name=bios\n"
        f"start={ESP_AT}MiB, size={ESP_MIB}MiB, type=uefi, name=esp\n"
        f"start={ROOT_AT}MiB, type=linux, name=root\n"
    )


def tree_mib(tree: Path) -> int:
    """Return the room that a tree takes, in MiB."""
    return int(run.run(["du", "-sxm", tree]).stdout.split()[0])


def make_disk(tree: Path, image: Path) -> None:
    """Write a tree, with grub for BIOS and UEFI added to it, onto a new disk image.

    Args:
        tree: root of a system with grub's modules and tools in it.
        image: raw file, made or replaced; sparse, about `SLACK_MIB` larger than the tree.

    Raises:
        CommandError: a program failed or is missing.
    """
    add_grub(tree)
    root_mib = tree_mib(tree) + SLACK_MIB
    with image.open("wb") as file:
        file.truncate((ROOT_AT + root_mib + 1) * MIB)
    run.run(["sfdisk", "--quiet", image], stdin=partition_table())
    run.run([
        "mke2fs", "-q", "-F", "-t", "ext4", "-L", shape.ROOT_LABEL, "-b", "4096", "-I", "256",
        "-m", "1", "-O", EXT4_FEATURES, "-d", tree,
        "-E", f"offset={ROOT_AT * MIB},lazy_itable_init=0,lazy_journal_init=0",
        image, f"{root_mib}M",
    ])  # fmt: skip
    write_esp(tree, image)
    write_bios_boot(tree, image)


def add_grub(tree: Path) -> None:
    """Put modules, core images and a first menu where grub-install puts them."""
    (tree / "boot/grub/start.cfg").parent.mkdir(parents=True, exist_ok=True)
    (tree / "boot/grub/start.cfg").write_text(GRUB_START)
    (tree / "boot/grub/grub.cfg").write_text(GRUB_MENU)
    for platform, (core, modules) in GRUB_PLATFORMS.items():
        folder = tree / "boot/grub" / platform
        shutil.copytree(tree / "usr/lib/grub" / platform, folder, dirs_exist_ok=True)
        run.run([
            "chroot", tree, "grub-mkimage", "-O", platform, "-p", "/boot/grub",
            "-c", "/boot/grub/start.cfg", "-o", f"/boot/grub/{platform}/{core}", *modules,
        ])  # fmt: skip


def write_esp(tree: Path, image: Path) -> None:
    """Make the ESP, with grub under the name that firmware looks for on removable media.

    Source: UEFI specification, 3.5.1.1 "Removable Media Boot Behavior".
    """
    run.run([
        "mkfs.vfat", "-F", "32", "-n", shape.ESP_LABEL, "-s", "1",
        "--offset", str(ESP_AT * MIB // SECTOR), image, str(ESP_MIB * 1024),
    ])  # fmt: skip
    esp = f"{image}@@{ESP_AT}M"
    run.run(["mmd", "-i", esp, "::EFI", "::EFI/BOOT"])
    core = tree / "boot/grub/x86_64-efi/core.efi"
    run.run(["mcopy", "-i", esp, core, "::EFI/BOOT/BOOTX64.EFI"])


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
