"""`cube up`, `ssh` and `down`."""

import argparse
import os
import shutil
import sys
from typing import get_args

from cube.build import debug_machine
from cube.cli.options import Commands, add
from cube.config import Spec
from cube.machines import Firmware
from cube.runtime.run import missing_tool


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the group."""
    add_up(commands)
    add_ssh(commands)
    add(commands, "down", cmd_down, "stop the machine that 'up' or 'build --keep' left running")


def add_up(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube up`."""
    command = add(commands, "up", cmd_up, "boot a copy of a layer's disk to look around in")
    command.add_argument(
        "--at",
        default="",
        metavar="LAYER",
        help="base, layer1 ... layer5, failed, or image (the sealed one); default: the last layer",
    )
    command.add_argument(
        "--machine",
        choices=["auto", "vm", "container"],
        default="",
        help="default: build.machine of cube.toml",
    )
    command.add_argument(
        "--firmware",
        choices=get_args(Firmware),
        default="",
        help="boots a vm with it; secure-boot is UEFI with Microsoft's keys; default: bios",
    )


def add_ssh(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube ssh`."""
    command = add(commands, "ssh", cmd_ssh, "log in to the machine that is up, or run a command")
    command.usage = "cube ssh [-h] [--spec FILE] [IMAGE] [-- COMMAND ...]"


def cmd_up(args: argparse.Namespace, spec: Spec) -> int:
    """Boot a disk and leave it running."""
    kind = args.machine or ("vm" if args.firmware else spec.build.machine)
    debug_machine.up(spec, at=args.at, kind=kind, firmware=args.firmware)
    return 0


def cmd_ssh(args: argparse.Namespace, spec: Spec) -> int:
    """Become the ssh client.

    Raises:
        CommandError: there is none.
    """
    argv = debug_machine.ssh_command(spec, args.words)
    if shutil.which(argv[0]) is None:
        raise missing_tool(argv[0])
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606 (the user's terminal becomes ssh's)


def cmd_down(args: argparse.Namespace, spec: Spec) -> int:  # noqa: ARG001 (one signature)
    """Stop what is up."""
    debug_machine.down(spec)
    return 0
