"""A box of four RTX 5090 in a folder, with a fault planted or none.

The folder is a machine's root for ``CUBE_ROOT``. On a real guest the same folder, put at
/usr/share/cube/stand-ins/simulated-gpus, plays the guest's hardware: what is judged there is
evidence "simulated", because that is where stand-ins leave their marks.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulated.faults import FAULTS, Fault

PROGRAMS = Path(__file__).parent / "bin"
#: Where the folder belongs on a guest.
ON_A_GUEST = "/usr/share/cube/stand-ins/simulated-gpus"

ADDRESSES = ("01", "41", "81", "c1")
DRIVER = "580.95.05"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
PYTHON = "opt/cube/venvs/pytorch/bin/python"

IDLE = {
    "name": "NVIDIA GeForce RTX 5090",
    "pci.device_id": "0x2B8510DE",
    "driver_version": DRIVER,
    "memory.total": "32607",
    "memory.used": "2",
    "utilization.gpu": "0",
    "temperature.gpu": "34",
    "power.draw": "15.32",
    "power.limit": "575.00",
    "persistence_mode": "Enabled",
    "pstate": "P8",
    "pcie.link.gen.current": "1",
    "pcie.link.gen.gpucurrent": "1",
    "pcie.link.gen.max": "5",
    "pcie.link.gen.gpumax": "5",
    "pcie.link.gen.hostmax": "5",
    "pcie.link.width.current": "16",
    "pcie.link.width.max": "16",
    "gpu_recovery_action": "None",
    "reset_status.reset_required": "No",
    "reset_status.drain_and_reset_recommended": "No",
    "ecc.mode.current": "[N/A]",
    "ecc.mode.pending": "[N/A]",
    "retired_pages.pending": "[N/A]",
    "remapped_rows.pending": "[N/A]",
    "remapped_rows.failure": "[N/A]",
    "mig.mode.current": "[N/A]",
    "ecc.errors.uncorrected.volatile.total": "[N/A]",
    "clocks_event_reasons.active": "0x0000000000000001",
    "clocks_throttle_reasons.active": "0x0000000000000001",
    "serial": "[N/A]",
    "vbios_version": "98.02.2E.40.5A",
}
#: What load changes: the power limit is reached (bit 4), which is no fault.
BUSY = {
    "memory.used": "1210",
    "utilization.gpu": "99",
    "temperature.gpu": "61",
    "power.draw": "561.77",
    "pstate": "P1",
    "pcie.link.gen.current": "5",
    "pcie.link.gen.gpucurrent": "5",
    "clocks_event_reasons.active": "0x0000000000000004",
    "clocks_throttle_reasons.active": "0x0000000000000004",
}
KERNEL_LOG = [
    "Linux version 6.8.0-85-generic (buildd@lcy02-amd64-049)",
    f"nvidia: loading NVIDIA UNIX Open Kernel Module for x86_64  {DRIVER}",
    "systemd[1]: Started something.",
]

State = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SimulatedBox:
    """The folder and the fault that is planted in it."""

    folder: Path
    fault: Fault

    @classmethod
    def make(cls, folder: Path, fault: str = "healthy") -> "SimulatedBox":
        """Write a whole box into a folder that does not exist yet."""
        box = cls(folder=folder, fault=FAULTS[fault])
        shutil.copytree(PROGRAMS, folder / "bin")
        box.write("box.json", json.dumps(state_of(box.fault), indent=2))
        box.write_files()
        box.write_expectations()
        for path, content in box.fault.files.items():
            box.plant(path, content)
        return box

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file of the box."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def write_files(self) -> None:
        """Write what the kernel and the packages would show."""
        planted = self.fault
        version = planted.machine.get("running", DRIVER)
        self.write(
            "proc/driver/nvidia/version",
            f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build\n",
        )
        self.write("proc/cpuinfo", "flags\t\t: fpu vme avx512f\n")
        for index, bus in enumerate(ADDRESSES):
            self.plug(bus, index)
        library = f"libnvidia-ml.so.{planted.machine.get('library', DRIVER)}"
        self.write(f"{LIBRARIES}/{library}", "")
        (self.folder / LIBRARIES / "libnvidia-ml.so.1").symlink_to(library)
        python = self.folder / PYTHON
        python.parent.mkdir(parents=True)
        python.symlink_to("../../../../../bin/pytorch")

    def plug(self, bus: str, index: int) -> None:
        """Put a GPU and its audio device into a slot."""
        slot = f"sys/devices/pci0000:00/0000:00:0{index + 1}.1"
        ids = {"class": "0x030000\n", "vendor": "0x10de\n", "device": "0x2b85\n"}
        audio = {"class": "0x040300\n", "vendor": "0x10de\n", "device": "0x22e8\n"}
        for function, values in (("0", ids), ("1", audio)):
            device = f"0000:{bus}:00.{function}"
            for name, text in values.items():
                self.write(f"{slot}/{device}/{name}", text)
            self.write(f"{slot}/{device}/config", b"\xde\x10\x85\x2b")
            link = self.folder / "sys/bus/pci/devices" / device
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"../../../../{slot}/{device}")
        for place in (slot, f"{slot}/0000:{bus}:00.0"):
            for kind in ("fatal", "nonfatal"):
                self.write(f"{place}/aer_dev_{kind}", f"DLP 0\nTOTAL_ERR_{kind.upper()} 0\n")
            self.write(f"{place}/aer_dev_correctable", "RxErr 0\nTOTAL_ERR_COR 0\n")

    def plant(self, path: str, content: str | bytes | None) -> None:
        """Replace a file, or remove it (a folder whole)."""
        place = self.folder / path
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        if content is not None:
            self.write(path, content)

    def write_expectations(self) -> None:
        """Write what layers 3 and 5 leave on a box; a guest has its own."""
        expected = {
            "admin_user": "cube",
            "gpu_model": "rtx-5090",
            "gpu_count": 4,
            "gpu_memory_mib": 32000,
        }
        self.write("etc/cube/expectations.json", json.dumps(expected))
        layers = {"3": {"roles": ["gpu_runtime"]}, "5": {"roles": ["validation"]}}
        self.write("var/lib/cube/layers.json", json.dumps({"layers": layers}))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables that make this box the machine; short times for short tests."""
        short = {"CUBE_SETTLE_S": "0.01", "CUBE_LIMIT_S": "20", "CUBE_LOAD_LIMIT_S": "20"}
        return {**os.environ, "CUBE_ROOT": str(self.folder), **short, **more}


def state_of(fault: Fault) -> State:
    """Return what the programs of the box read."""
    gpus = [gpu_of(index, fault) for index in range(len(ADDRESSES))]
    state = {
        "gpus": gpus[: len(gpus) - fault.unseen],
        "p2p": matrix("GNS"),
        "kernel_log": [*KERNEL_LOG, *fault.kernel_log],
        "module_on_disk": DRIVER,
        "package": DRIVER,
        "runtimes": ["io.containerd.runc.v2", "nvidia", "runc"],
        "smi": dict(fault.smi),
        "programs": dict(fault.programs),
    }
    return {**state, **fault.machine}


def gpu_of(index: int, fault: Fault) -> State:
    """Return one GPU; a fault is in the last one, or in every one."""
    last = index == len(ADDRESSES) - 1
    place = {
        "uuid": f"GPU-5090c0de-0000-4000-8000-00000000000{index}",
        "pci.bus_id": f"00000000:{ADDRESSES[index].upper()}:00.0",
    }
    idle = {**place, **IDLE, **fault.every, **(fault.gpu if last else {})}
    busy = {**BUSY, **(fault.busy if last else {})}
    return {
        "idle": without(idle, fault.unknown),
        "busy": without(still_lost(idle, busy), fault.unknown),
        "replays": list(fault.replays if last else (0, 0)),
        "bandwidth": list(fault.bandwidth if last else (56.3, 57.3)),
        "processes": fault.processes,
        "xml": fault.details if last else "",
        "alone": dict(fault.alone) if last else {},
    }


def still_lost(idle: Mapping[str, str], busy: Mapping[str, str]) -> dict[str, str]:
    """Return what load changes; a value that is not told stays so."""
    return {name: value for name, value in busy.items() if not idle[name].startswith("[")}


def without(values: Mapping[str, str], fields: tuple[str, ...]) -> dict[str, str]:
    """Leave out the fields that this driver does not know."""
    return {name: value for name, value in values.items() if name not in fields}


def matrix(state: str, *, odd: str = "") -> list[list[str]]:
    """Return the P2P states of all pairs; `odd` is the last pair's."""
    size = len(ADDRESSES)
    rows = [["X" if row == column else state for column in range(size)] for row in range(size)]
    if odd:
        rows[-1][0] = rows[0][-1] = odd
    return rows
