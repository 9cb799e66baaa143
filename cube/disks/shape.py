"""The shape of the disk, the same for every operating system.

GPT with a BIOS boot partition, an EFI system partition and, last, the root: an ext4 file system,
either in the partition itself (``plain``) or in a logical volume over all of it (``lvm``). There
is no separate /boot. docs/how-it-works.md, "The disk", says why.
"""

from cube.config import Layout

MIB = 1024 * 1024
#: Starts and sizes of the partitions, in MiB. The root follows, to the end of the disk.
BIOS_AT, BIOS_MIB = 1, 1
ESP_AT, ESP_MIB = 2, 512
ROOT_AT = ESP_AT + ESP_MIB

#: Label of the root file system; the boot loader, the kernel and fstab find it by this name.
ROOT_LABEL = "cube-root"
#: Label of the EFI system partition; a FAT label has 11 capital letters at most.
ESP_LABEL = "CUBE-ESP"

#: How it is mounted. A box starts without it, but waits for it longer than systemd's 90 s: a busy
#: virtual machine without KVM took two minutes to show it. Source: systemd.mount(5).
ESP_OPTIONS = "umask=0077,nofail,x-systemd.device-timeout=5min"

#: Names of the volume group and of its only volume.
GROUP, VOLUME = "cube", "root"
#: Where a logical volume's data starts in its partition, and what its size is a multiple of, MiB.
#: Source: lvm.conf(5), default_data_alignment; vgcreate(8), --physicalextentsize.
PV_START_MIB, EXTENT_MIB = 1, 4


def root_device(layout: Layout) -> str:
    """Return what the kernel is told the root is: a name that is the same on every disk.

    initramfs-tools activates a volume when it is named by its path.
    """
    return f"/dev/mapper/{GROUP}-{VOLUME}" if layout == "lvm" else f"LABEL={ROOT_LABEL}"
