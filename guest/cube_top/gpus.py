"""The GPUs of this box, read beside the screen: a sick driver may take long to answer."""

import threading
import time
from dataclasses import dataclass

from guest.checking.pci import nvidia_gpus
from guest.gpus.machine import find_machine
from guest.gpus.nvidia_smi import SmiError, known_fields, number, query

FIELDS = (
    "name", "memory.total", "memory.used", "utilization.gpu", "temperature.gpu", "power.draw",
    "power.limit", "pcie.link.gen.gpucurrent", "pcie.link.gen.current", "pcie.link.width.current",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU; None is what its driver does not tell."""

    index: str
    name: str
    lost: bool
    utilization_percent: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    pcie_generation: float | None = None
    pcie_width: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """All GPUs; `problem` says why there are none to see, or what else is wrong."""

    gpus: tuple[Gpu, ...] = ()
    problem: str = ""
    present: bool = True


def parse_gpu(row: dict[str, str]) -> Gpu:
    """Build a GPU from its line; a lost one answers with words instead of numbers."""
    lost = any("lost" in value.lower() for value in row.values())
    generation = number(row, "pcie.link.gen.gpucurrent") or number(row, "pcie.link.gen.current")
    return Gpu(
        index=row.get("index", "?"),
        name="" if lost else short_name(row.get("name", "")),
        lost=lost,
        utilization_percent=number(row, "utilization.gpu"),
        memory_used_mib=number(row, "memory.used"),
        memory_total_mib=number(row, "memory.total"),
        temperature_c=number(row, "temperature.gpu"),
        power_w=number(row, "power.draw"),
        power_limit_w=number(row, "power.limit"),
        pcie_generation=generation,
        pcie_width=number(row, "pcie.link.width.current"),
    )


def short_name(name: str) -> str:
    """Return a GPU's name without the words that all of them have."""
    return name.replace("NVIDIA ", "").replace("GeForce ", "")


class GpuQuery:
    """Asks for the fields that the driver knows, which are found out once it answers."""

    def __init__(self) -> None:
        self._machine = find_machine()
        self._fields: tuple[str, ...] = ()

    def read(self) -> Gpus:
        """Read the GPUs, or say why there are none to see."""
        on_bus = len(nvidia_gpus(self._machine.hardware))
        try:
            self._fields = self._fields or known_fields(self._machine, FIELDS)
            gpus = tuple(parse_gpu(row) for row in query(self._machine, self._fields))
        except SmiError as error:
            if on_bus == 0:
                return Gpus(problem="this machine has no NVIDIA GPU", present=False)
            return Gpus(problem=f"{on_bus} on the PCI bus, but {error}")
        missing = on_bus - len(gpus)
        told = f"{missing} on the PCI bus do not answer" if missing > 0 else ""
        return Gpus(gpus=gpus, problem=told)


class GpuReader:
    """Reads the GPUs in a thread: a sick driver may take long, the screen must not wait."""

    def __init__(self, interval_s: float) -> None:
        self.latest = Gpus(problem="being read")
        self._interval_s = interval_s
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        query = GpuQuery()
        while True:
            self.latest = query.read()
            time.sleep(self._interval_s)
