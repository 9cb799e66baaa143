"""The machine as validate-gpus.sh sees it: its PCI bus, its programs, its kernel. Reads only.

CUBE_ROOT names a fake root in tests. A folder /usr/share/cube/stand-ins/simulated-gpus plays the
hardware on a real guest: bin/ before PATH, sys/, proc/ and opt/ instead of the machine's own.
Whatever is seen through either of them is evidence "simulated", and so is a machine on which
packages stand in for others.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from guest.checking import program
from guest.checking.pci import NVIDIA, displays
from guest.checking.program import Answer
from guest.checking.state import STAND_INS, read_text

SIMULATED_GPUS = f"{STAND_INS}/simulated-gpus"

#: A device that fell off the bus reads as ones. Source: PCI Local Bus Specification 3.0, 6.1.
NO_DEVICE = b"\xff\xff"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the machine's files are; `hardware` holds sys/, proc/, usr/lib and opt/."""

    state: Path
    hardware: Path
    simulated: bool

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of the programs that are asked."""
        variables = program.environment()
        if self.hardware != Path("/"):
            variables["PATH"] = f"{self.hardware / 'bin'}:{variables['PATH']}"
        return variables


def find_machine(base: Path = Path("/")) -> Machine:
    """Return the machine whose root is `base`, or the one that stands in for it."""
    root = os.environ.get("CUBE_ROOT", "")
    state = Path(root or base)
    stand_in = state / SIMULATED_GPUS
    marked = any((state / STAND_INS).glob("*"))
    hardware = stand_in if stand_in.is_dir() else state
    return Machine(state=state, hardware=hardware, simulated=bool(root) or marked)


def ask(machine: Machine, *argv: str) -> Answer:
    """Run a program as the machine sees it."""
    return program.ask(*argv, env=machine.environment)


@dataclass(frozen=True, kw_only=True)
class Bus:
    """The display controllers on the PCI bus.

    Args:
        gpus: addresses of NVIDIA's.
        ids: their device ids, "10de:2b85".
        silent: addresses of those that do not answer.
        others: other vendors' ids.
    """

    gpus: tuple[str, ...]
    ids: tuple[str, ...]
    silent: tuple[str, ...]
    others: tuple[str, ...]


def read_bus(machine: Machine) -> Bus:
    """Look for display controllers."""
    gpus, ids, silent, others = [], [], [], []
    for device, vendor in displays(machine.hardware):
        if vendor != NVIDIA:
            others.append(vendor.removeprefix("0x"))
            continue
        gpus.append(device.name)
        ids.append(f"10de:{read_text(device / 'device').removeprefix('0x')}")
        with contextlib.suppress(OSError):
            if (device / "config").read_bytes()[:2] == NO_DEVICE:
                silent.append(device.name)
    return Bus(gpus=tuple(gpus), ids=tuple(ids), silent=tuple(silent), others=tuple(others))


def sysfs_address(bus_id: str) -> str:
    """Return sysfs's form, "0000:c1:00.0", of nvidia-smi's "00000000:C1:00.0"."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def in_virtual_machine(machine: Machine) -> bool:
    """Tell whether this is a guest. Source: the kernel's name of CPUID leaf 1, ECX bit 31."""
    return " hypervisor" in read_text(machine.hardware / "proc/cpuinfo")
