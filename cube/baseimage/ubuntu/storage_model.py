"""The rules of a storage.config: what the installer would refuse, and what makes another disk.

The installer skips an action of a type that it does not know, and takes the last of two actions
of one id; here both are mistakes.
Source: subiquity, branch ubuntu/noble, models/filesystem.py; curtin, block/schemas.py.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, model_validator

from cube.baseimage.ubuntu import storage_config
from cube.disks import shape

#: Reasons to refuse each guided layout that the installer has.
GUIDED = {
    "lvm": "it has no BIOS boot partition and a /boot of its own",
    "direct": "it has no BIOS boot partition",
    "zfs": "its root is not ext4",
    "dd": "it copies a finished disk",
    "hybrid": "it is for a system with TPM-backed encryption",
}


class Strict(BaseModel):
    """An action without unknown keys or conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(min_length=1)]


def check_size(size: str | int) -> str | int:
    """Accept whole MiB or GiB, or the rest."""
    if size != storage_config.REST and not re.fullmatch(r"[1-9][0-9]*[MG]", str(size)):
        raise ValueError('write a size like "512M" or "1G", or -1 for the rest')
    return size


Size = Annotated[str | int, AfterValidator(check_size)]


class Match(BaseModel):
    """How the disk is found: the only one, or the largest; a name would pin the machine."""

    model_config = ConfigDict(extra="forbid", strict=True)

    size: Literal["largest"]


class Disk(Strict):
    """The disk; all that is on it goes."""

    type: Literal["disk"]
    match: Match
    ptable: Literal["gpt"]
    wipe: Literal["superblock", "superblock-recursive", "zero", "random"]
    grub_device: Literal[True]


class Partition(Strict):
    """A partition, made anew."""

    type: Literal["partition"]
    device: str
    size: Size
    flag: Literal["bios_grub", "boot", "lvm", "linux"] | None = None
    grub_device: bool = False
    wipe: Literal["superblock", "zero", "random"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.grub_device is not (self.flag == "boot"):
            raise ValueError("grub_device must be true for the EFI system partition, only for it")
        return self


class VolumeGroup(Strict):
    """An LVM volume group over one partition."""

    type: Literal["lvm_volgroup"]
    name: str
    devices: Annotated[list[str], Field(min_length=1, max_length=1)]


class Volume(Strict):
    """A logical volume."""

    type: Literal["lvm_partition"]
    volgroup: str
    name: str
    size: Size


class FileSystem(Strict):
    """A file system, made anew."""

    type: Literal["format"]
    volume: str
    fstype: Literal["ext4", "fat32"]
    label: Annotated[str, Field(min_length=1, max_length=16)]


class Mount(Strict):
    """A mount, and its line in fstab."""

    type: Literal["mount"]
    device: str
    path: Annotated[str, Field(pattern=r"^/")]
    spec: Annotated[str, Field(pattern=r"^LABEL=")]
    options: Annotated[str, Field(pattern=r"^\S+$")]


Action = Annotated[
    Disk | Partition | VolumeGroup | Volume | FileSystem | Mount, Discriminator("type")
]


class Swap(BaseModel):
    """No swap file of the installer's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    size: Any

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size != 0 or isinstance(self.size, bool):
            raise ValueError("size must be 0: each box makes its swap at its first boot")
        return self


class Storage(BaseModel):
    """The section `storage`: a disk as `cube.disks.shape` has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    swap: Swap
    config: list[Action]

    @model_validator(mode="before")
    @classmethod
    def _check_layout(cls, data: Any) -> Any:  # noqa: ANN401 (whatever the file holds)
        if isinstance(data, dict) and "layout" in data:
            raise ValueError(layout_mistake(data["layout"]))
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        actions = [action.model_dump(exclude_none=True) for action in self.config]
        if found := list(reference_mistakes(actions)) or list(disk_mistakes(actions)):
            raise ValueError("; ".join(found))
        return self


def layout_mistake(layout: object) -> str:
    """Say why a guided layout is refused."""
    name = layout.get("name") if isinstance(layout, dict) else layout
    known = GUIDED.get(name) if isinstance(name, str) else None
    why = known or f"the installer silently takes an unknown layout, such as {name!r}, for 'direct'"
    return f"use config instead of a guided layout: {why}"


def reference_mistakes(actions: list[storage_config.Action]) -> Iterator[str]:
    """Name repeated ids, and references to nothing or to an action of another type."""
    for name, count in Counter(action["id"] for action in actions).items():
        if count > 1:
            yield f"the id {name!r} is used {count} times"
    known: dict[str, str] = {}
    for action in actions:
        for name in references(action):
            if name not in known:
                yield f"{action['id']}: there is no action {name!r} before it"
            elif known[name] not in REFERENCES[action["type"]][1]:
                yield f"{action['id']}: {name!r} is a {known[name]}"
        known[action["id"]] = action["type"]
    used = Counter(name for action in actions for name in references(action))
    for name, count in used.items():
        if count > 1 and known.get(name) != "disk":
            yield f"{name!r} is used by {count} actions"


#: By type of action: the key with its references, and the types that these may have.
REFERENCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "partition": ("device", ("disk",)),
    "lvm_volgroup": ("devices", ("partition",)),
    "lvm_partition": ("volgroup", ("lvm_volgroup",)),
    "format": ("volume", ("partition", "lvm_partition")),
    "mount": ("device", ("format",)),
}


def references(action: storage_config.Action) -> list[str]:
    """Return the ids that an action stands on."""
    key, _ = REFERENCES.get(action["type"], ("", ()))
    value = action.get(key, [])
    return [value] if isinstance(value, str) else value


def disk_mistakes(actions: list[storage_config.Action]) -> Iterator[str]:
    """Name what makes the disk another than that of `cube.disks.shape`."""
    disks = storage_config.of_type(actions, "disk")
    if len(disks) != 1:
        yield f"there are {len(disks)} disks, not one"
    mounts = storage_config.of_type(actions, "mount")
    if (roots := [action["path"] for action in mounts].count("/")) != 1:
        yield f"{roots} actions mount /, not one"
        return
    found = storage_config.plan(actions)
    for index, part in enumerate(found, start=1):
        if part.size_mib is None and part is not found[-1]:
            yield f"partition {index} takes the rest, but is not the last"
            return
    if found[-1].path != "/":
        yield "the last partition is not the root, which must grow to the end of the disk"
        return
    layout: shape.Layout = "lvm" if found[-1].group else "plain"
    yield from shape_mistakes(found, storage_config.plan(storage_config.render(layout)))


def shape_mistakes(
    found: list[storage_config.Partition], wanted: list[storage_config.Partition]
) -> Iterator[str]:
    """Name where partitions differ from those of `cube.disks.shape`."""
    if len(found) != len(wanted):
        yield f"there are {len(found)} partitions, not {len(wanted)}"
        return
    for index, (part, right) in enumerate(zip(found, wanted, strict=True), start=1):
        for name, value in asdict(right).items():
            if (other := getattr(part, name)) != value:
                yield f"partition {index}: {name} is {other!r}, not {value!r}"
