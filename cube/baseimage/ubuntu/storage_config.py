"""The disk of `cube.disks.shape` in the words of Ubuntu's installer, and such words read back.

Source: curtin's documentation, "Storage", format 1; subiquity's reference, "storage": a negative
size takes the rest, and `match` chooses the disk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cube.disks import shape

Action = dict[str, Any]

#: Options of the two mounts; the installer copies them to fstab.
#: Source: ext4(5), "errors="; mount(8), "umask=" for vfat: the ESP is root's only.
ROOT_OPTIONS = "errors=remount-ro"
#: The rest of a disk or of a volume group. Source: subiquity's reference, "storage".
REST = -1


def render(layout: shape.Layout) -> list[Action]:
    """Return the actions that lay the disk out, partitions in their order on the disk."""
    flag = {"flag": "lvm"} if layout == "lvm" else {}
    return [
        {
            "id": "disk",
            "type": "disk",
            "match": {"size": "largest"},
            "ptable": "gpt",
            "wipe": "superblock-recursive",
            "grub_device": True,
        },
        partition("bios", shape.BIOS_MIB, flag="bios_grub"),
        partition("esp", shape.ESP_MIB, flag="boot", grub_device=True),
        {"id": "root", "type": "partition", "device": "disk", "size": REST, **flag},
        *(logical_volume() if layout == "lvm" else []),
        file_system("esp", "esp", "fat32", shape.ESP_LABEL),
        file_system("root", "volume" if layout == "lvm" else "root", "ext4", shape.ROOT_LABEL),
        mount("root", "/", shape.ROOT_LABEL, ROOT_OPTIONS),
        mount("esp", "/boot/efi", shape.ESP_LABEL, shape.ESP_OPTIONS),
    ]


def partition(name: str, size_mib: int, **more: object) -> Action:
    """Return the action that makes a partition of a fixed size."""
    return {"id": name, "type": "partition", "device": "disk", "size": f"{size_mib}M", **more}


def logical_volume() -> list[Action]:
    """Return the actions that make one volume over the whole root partition."""
    return [
        {"id": "group", "type": "lvm_volgroup", "name": shape.GROUP, "devices": ["root"]},
        {
            "id": "volume",
            "type": "lvm_partition",
            "volgroup": "group",
            "name": shape.VOLUME,
            "size": REST,
        },
    ]


def file_system(name: str, volume: str, fstype: str, label: str) -> Action:
    """Return the action that makes a file system."""
    return {
        "id": f"{name}-fs",
        "type": "format",
        "volume": volume,
        "fstype": fstype,
        "label": label,
    }


def mount(name: str, path: str, label: str, options: str) -> Action:
    """Return the action that mounts a file system; `spec` is its source in fstab."""
    return {
        "id": f"{name}-mount",
        "type": "mount",
        "device": f"{name}-fs",
        "path": path,
        "spec": f"LABEL={label}",
        "options": options,
    }


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition that a storage.config makes, and what is in it.

    Args:
        start_mib: offset in MiB.
        size_mib: size in MiB; None takes the rest of the disk.
        flag: curtin's word for the kind: `bios_grub`, `boot`, `lvm` or empty.
        group: name of the LVM volume group over it; empty for none.
        volume: name of the volume that takes all of the group.
        fstype: file system in the partition or in the volume; empty for none.
        label: its label.
        path: where it is mounted; empty for nowhere.
        source: first word of its line in fstab; empty when the installer chooses it.
        options: mount options.
    """

    start_mib: int
    size_mib: int | None
    flag: str
    group: str
    volume: str
    fstype: str
    label: str
    path: str
    source: str
    options: str


def plan(config: list[Action]) -> list[Partition]:
    """Return the partitions that a storage.config makes, in their order on the disk.

    Partitions follow each other from the first MiB on. Source: curtin, storage format 1.

    Args:
        config: actions that `cube.baseimage.ubuntu.storage_model` accepts.
    """
    partitions = []
    start_mib = 1
    for action in of_type(config, "partition"):
        size_mib = parse_size_mib(action["size"])
        partitions.append(planned(config, action, start_mib, size_mib))
        start_mib += size_mib or 0
    return partitions


def planned(
    config: list[Action], action: Action, start_mib: int, size_mib: int | None
) -> Partition:
    """Return one partition with what it holds."""
    group = first(config, "lvm_volgroup", lambda other: action["id"] in other["devices"])
    volume = first(config, "lvm_partition", lambda other: other["volgroup"] == group.get("id"))
    holder = volume.get("id", action["id"])
    made = first(config, "format", lambda other: other["volume"] == holder)
    mounted = first(config, "mount", lambda other: other["device"] == made.get("id"))
    return Partition(
        start_mib=start_mib,
        size_mib=size_mib,
        flag=action.get("flag", ""),
        group=group.get("name", ""),
        volume=volume.get("name", ""),
        fstype=made.get("fstype", ""),
        label=made.get("label", ""),
        path=mounted.get("path", ""),
        source=mounted.get("spec", ""),
        options=mounted.get("options", ""),
    )


def of_type(config: list[Action], kind: str) -> list[Action]:
    """Return the actions of a type."""
    return [action for action in config if action["type"] == kind]


def first(config: list[Action], kind: str, fits: Callable[[Action], bool]) -> Action:
    """Return the first action of a type that fits; an empty one when none does."""
    return next(filter(fits, of_type(config, kind)), {})


def parse_size_mib(size: str | int) -> int | None:
    """Return a size in MiB; None for the rest. Source: curtin, human2bytes: M and G are binary."""
    if size == REST:
        return None
    text = str(size)
    return int(text[:-1]) * {"M": 1, "G": 1024}[text[-1]]
