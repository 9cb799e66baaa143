"""Whether the disk of the image holds its layout, the system, the swap file and the stack."""

from collections.abc import Mapping
from dataclasses import dataclass

from cube.config import Spec
from cube.disks import shape

#: What the image takes without frameworks, in MiB: the system with layers 1, 3 and 5 (the chain
#: takes 2.4 GB, docs/build.md), and the driver with the CUDA toolkit (Debian 13's own: 5,341,
#: the sum of Installed-Size over what they depend on; the rest is for the packages themselves).
#: NVIDIA's own cuda-toolkit-13-0 was not measured: it is taken to be of that order.
SYSTEM_MIB = 3 * 1024
DRIVER_MIB = 7 * 1024
#: Part of the root that is not for files: ext4's reserve and tables. Source: mke2fs(8) keeps 5 %
#: for root; its tables and journal take about 3 %.
OVERHEAD = 1.08
#: The second table of partitions at the disk's end. Source: UEFI specification, 5.3.2.
BACKUP_TABLE_MIB = 1
GIB_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class Room:
    """What the disk has and what it needs, in MiB.

    Args:
        has: size of the disk.
        layout: what of it is not the root file system.
        parts: what lies in the root file system, by name.
    """

    has: int
    layout: int
    parts: Mapping[str, int]

    @property
    def needed(self) -> int:
        """The least size of the disk."""
        return int(sum(self.parts.values()) * OVERHEAD) + self.layout

    @property
    def enough(self) -> bool:
        """Whether the disk holds all of it."""
        return self.has >= self.needed

    def said(self, what: str) -> str:
        """Say that it does not, and which size would."""
        listed = ", ".join(
            f"{name} {size / GIB_MIB:.1f}" for name, size in self.parts.items() if size
        )
        least = -(-self.needed // GIB_MIB)
        has = f"{self.has / GIB_MIB:.1f}".removesuffix(".0")
        return (
            f"image.disk_size is {has} GiB, {what} {least} GiB ({listed}):"
            f" write at least {least} GiB"
        )


def room(spec: Spec, stack: Mapping[str, int]) -> Room:
    """Return what the disk of an image has and needs.

    Args:
        spec: names the sizes of the disk and the swap file, and the layout.
        stack: parts of the GPU stack with their sizes in MiB.
    """
    lvm = shape.PV_START_MIB + shape.EXTENT_MIB if spec.image.disk_layout == "lvm" else 0
    return Room(
        has=spec.image.disk_size,
        layout=shape.ROOT_AT + lvm + BACKUP_TABLE_MIB,
        parts={"system": SYSTEM_MIB, **stack, "swap": spec.image.swap},
    )
