"""The logical volumes of an image, without a device mapper: laid out, and read as byte ranges.

A volume of one linear segment is a range of bytes of its partition, so it can be mounted by
offset. Nothing is ever activated: the names of this machine's own volume groups do not matter.
Only one device is looked at, and nothing is written outside it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube.disks import shape
from cube.runtime import run
from cube.runtime.errors import CommandError, MachineError

#: There is no udev here; no copies of the metadata are kept on this machine. Source: lvm.conf(5).
CONFIG = (
    "activation { udev_sync=0 udev_rules=0 } backup { backup=0 archive=0 }"
    " devices { use_devicesfile=0 scan_lvs=0"
)
#: The metadata notes the host that made it: an image shall not carry its builder's name.
HOSTNAME = "cube"

Execute = Callable[[list[str]], str]


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A logical volume.

    Args:
        group: name of its volume group.
        name: its own name.
        start: offset of its data in its partition, in bytes.
        size: length in bytes.
        uuid: of group and volume together, as the device mapper has it.
        obstacle: why it is no range of bytes ("it is striped"); empty when it is one.
    """

    group: str
    name: str
    start: int
    size: int
    uuid: str
    obstacle: str = ""

    @property
    def mapper(self) -> str:
        """Name below /dev/mapper. Source: lvm(8): hyphens of both names are doubled."""
        return "-".join(name.replace("-", "--") for name in (self.group, self.name))


@dataclass(frozen=True, kw_only=True)
class Backup:
    """The layout of a volume group on one device: its name, the device's UUID, LVM's file."""

    group: str
    pv_uuid: str
    file: Path


def args(command: str, device: str | Path, *rest: str) -> list[str]:
    """Build an lvm(8) command that sees one device only, and no device mapper."""
    config = f'{CONFIG} filter=["a|^{device}$|","r|.*|"] }}'
    return ["lvm", command, "--driverloaded", "n", "--config", config, *rest]


def create(device: Path) -> None:
    """Lay out the volume group over a device, with one volume over all of it.

    Args:
        device: block device, a loop device over the root partition.

    Raises:
        CommandError: lvm refuses.
    """
    extent = f"{shape.EXTENT_MIB}m"
    commands = (
        args("pvcreate", device, "--dataalignment", f"{shape.PV_START_MIB}m", str(device)),
        args("vgcreate", device, "--physicalextentsize", extent, shape.GROUP, str(device)),
        args(
            "lvcreate",
            device,
            "--yes",
            "--activate",
            "n",
            "--zero",
            "n",
            "--wipesignatures",
            "n",
            "--extents",
            "100%FREE",
            "--name",
            shape.VOLUME,
            shape.GROUP,
        ),
    )
    for argv in commands:
        run.run(nameless(argv))


def nameless(argv: list[str]) -> list[str]:
    """Build the command that runs another one on a host of another name.

    The metadata notes the host that wrote it.
    """
    return ["unshare", "--uts", "sh", "-c", f'hostname {HOSTNAME} && exec "$@"', "sh", *argv]


def backup(execute: Execute, device: str, file: Path) -> Backup:
    """Write the layout of the group on a device into a file, to make the same one elsewhere.

    Raises:
        CommandError: lvm cannot read it.
    """
    fields = ("--noheadings", "--separator", " ", "--options", "pv_uuid,vg_name")
    uuid, group = execute(args("pvs", device, *fields, device)).split()
    execute(args("vgcfgbackup", device, "--file", str(file.absolute()), group))
    return Backup(group=group, pv_uuid=uuid, file=file)


def restore(saved: Backup, device: Path) -> None:
    """Make the same group, with its UUIDs, on another device; its history begins anew.

    The metadata notes the command: the file has no folder in it.

    Args:
        saved: the layout.
        device: block device of the same size.

    Raises:
        CommandError: lvm refuses.
    """
    folder, name = saved.file.parent, saved.file.name
    identity = ("--uuid", saved.pv_uuid, "--restorefile", name)
    run.run(nameless(args("pvcreate", device, *identity, str(device))), cwd=folder)
    run.run(nameless(args("vgcfgrestore", device, "--file", name, saved.group)), cwd=folder)


def volumes(execute: Execute, device: str) -> list[Volume]:
    """Return the logical volumes on a device.

    Args:
        execute: runs a command and returns what it prints.
        device: block device that is an LVM physical volume.

    Raises:
        MachineError: LVM's report cannot be had or read.
    """
    units = ("--units", "b", "--nosuffix", "--reportformat", "json", "--options")
    starts = args("pvs", device, *units, "pe_start", device)
    fields = "vg_name,lv_name,vg_uuid,lv_uuid,segtype,seg_size,lv_size,seg_pe_ranges,vg_extent_size"
    segments = args("lvs", device, "--segments", *units, fields)
    try:
        return parse_volumes(execute(starts), execute(segments), device)
    except CommandError as error:
        raise MachineError(
            f"{device}: LVM cannot read the image's volumes", details=error.output
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise MachineError(f"{device}: LVM's report cannot be read: {error!r}") from error


def parse_volumes(starts: str, segments: str, device: str) -> list[Volume]:
    """Read LVM's two reports.

    Raises:
        ValueError: it is no report.
        LookupError: a field is missing.
    """
    first = int(_rows(starts, "pv")[0]["pe_start"])
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in _rows(segments, "seg"):
        found.setdefault(f"{row['vg_uuid']}{row['lv_uuid']}", []).append(row)
    return [_volume(rows, uuid.replace("-", ""), first, device) for uuid, rows in found.items()]


def _rows(text: str, kind: str) -> list[Mapping[str, str]]:
    report: dict[str, Any] = json.loads(text)["report"][0]
    rows: list[Mapping[str, str]] = report[kind]
    return rows


def _volume(rows: list[Mapping[str, str]], uuid: str, first: int, device: str) -> Volume:
    row = rows[0]
    place, _, extents = row["seg_pe_ranges"].rpartition(":")
    obstacle = ""
    if row["segtype"] != "linear":
        obstacle = f"it is {row['segtype']}"
    elif len(rows) > 1:
        obstacle = f"it has {len(rows)} segments"
    elif place != device:
        obstacle = f"its data is on {place}"
    begin = 0 if obstacle else int(extents.split("-")[0]) * int(row["vg_extent_size"])
    return Volume(
        group=row["vg_name"],
        name=row["lv_name"],
        start=first + begin,
        size=int(row["lv_size"]),
        uuid=uuid,
        obstacle=obstacle,
    )
