"""The logical volumes of an image, activated inside a cell.

Only the image's own device is looked at, so volume groups of this machine are never touched;
two active groups of one name are refused by the kernel, and that is told.
"""

import json

from cube import run
from cube.cell import Cell
from cube.errors import CommandError, MachineError

#: There is no udev in a cell: lvm makes the device nodes itself. Source: lvm.conf(5).
CONFIG = "activation { udev_sync=0 udev_rules=0 } devices { use_devicesfile=0 }"


def args(command: str, device: str, *rest: str) -> list[str]:
    """Build an lvm(8) command that sees one device only."""
    accept = f'devices {{ filter=["a|^{device}$|","r|.*|"] scan_lvs=0 }}'
    return ["lvm", command, "--config", f"{CONFIG} {accept}", *rest]


def activate(cell: Cell, device: str) -> str:
    """Activate the volume group on a device.

    Returns:
        The volume group's name.

    Raises:
        MachineError: this machine has no device mapper, or the group's name is taken.
    """
    try:
        argv = args("pvs", device, "--noheadings", "-o", "vg_name", device)
        group = cell.execute(argv).stdout.strip()
        cell.execute(args("vgchange", device, "-ay", group))
    except CommandError as error:
        raise MachineError(
            f"{device}: the image's LVM volume group could not be activated",
            hint="the kernel needs dm-mod, and no active volume group of the same name; "
            "or use machine = 'vm'",
            details=error.output,
        ) from error
    return group


def parse_volumes(text: str) -> list[str]:
    """Read `lvs --reportformat json`: names of the logical volumes."""
    return [row["lv_name"] for row in json.loads(text)["report"][0]["lv"]]


def root_device(cell: Cell, group: str, device: str) -> str:
    """Return the node of the logical volume with the root: the one named for it, else the last.

    Raises:
        MachineError: the group has no logical volume.
    """
    argv = args("lvs", device, "--reportformat", "json", "-o", "lv_name", group)
    names = parse_volumes(cell.execute(argv).stdout)
    if not names:
        raise MachineError(f"volume group {group} has no logical volume")
    named = [name for name in names if "root" in name or name == "ubuntu-lv"]
    return f"/dev/{group}/{(named or names)[-1]}"


def deactivate(cell: Cell, group: str) -> None:
    """Let go of a volume group, and with it of its loop device."""
    cell.execute(["lvm", "vgchange", "--config", CONFIG, "-an", group])


def mapped(group: str, text: str) -> list[str]:
    """Return the volumes of a group among what `dmsetup ls` printed.

    Source: lvm(8): a hyphen in a name is doubled, one hyphen parts group and volume.
    """
    names = [line.split("\t")[0] for line in text.splitlines()]
    prefix = group.replace("-", "--") + "-"
    return [name for name in names if name.startswith(prefix) and name[len(prefix)] != "-"]


def forget(group: str) -> bool:
    """Remove the volumes of a group whose disk is gone.

    Returns:
        Whether there was one.
    """
    names = mapped(group, run.run(["dmsetup", "ls"], accept=(0, 1)).stdout)
    for name in names:
        run.run(["dmsetup", "remove", "--force", "--retry", name])
    return bool(names)
