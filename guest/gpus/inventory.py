"""Which GPUs there are: those that nvidia-smi lists, and those that it only warns of."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from guest.gpus.device import REQUIRED, Gpu
from guest.gpus.findings import Found
from guest.gpus.machine import Bus, Machine, sysfs_address
from guest.gpus.nvidia_smi import survey


@dataclass(kw_only=True)
class Inventory:
    """The GPUs, each with its address and its model.

    Args:
        bus: what sits on the PCI bus.
        gpus: in nvidia-smi's order.
        found: what is wrong with nvidia-smi's answer as a whole.
    """

    bus: Bus
    gpus: list[Gpu] = field(default_factory=list)
    found: Found | None = None

    @property
    def models(self) -> dict[str, str]:
        """The model of each GPU by its address; a lost one has that of the same device id."""
        return name_models(self.bus, self.gpus)

    @property
    def listed(self) -> list[Gpu]:
        """The GPUs that nvidia-smi lists."""
        return [gpu for gpu in self.gpus if gpu.values]

    @property
    def driver(self) -> str:
        """The version of the driver."""
        told = {gpu.values["driver_version"] for gpu in self.listed}
        return ", ".join(sorted(version for version in told if "[" not in version))


def read_inventory(machine: Machine, bus: Bus) -> Inventory:
    """Ask nvidia-smi which GPUs there are.

    Raises:
        SmiError: it does not answer.
    """
    seen = survey(machine, REQUIRED)
    gpus = [Gpu(index=int(row["index"]), values=row) for row in seen.rows]
    for gpu in gpus:
        gpu.address = find_address(gpu, bus)
        gpu.found = seen.faults.get(gpu.address)
    gpus += unlisted(bus, gpus, seen.faults)
    models = name_models(bus, gpus)
    for gpu in gpus:
        gpu.model = models.get(gpu.address, gpu.values.get("name", ""))
    gpus.sort(key=lambda gpu: gpu.index)
    return Inventory(bus=bus, gpus=gpus, found=seen.found)


def find_address(gpu: Gpu, bus: Bus) -> str:
    """Return where a GPU sits; one that does not tell is found by its place on the bus."""
    told = gpu.values["pci.bus_id"]
    if ":" in told:
        return sysfs_address(told)
    return bus.gpus[gpu.index] if gpu.index < len(bus.gpus) else told


def unlisted(bus: Bus, gpus: Sequence[Gpu], faults: Mapping[str, Found]) -> list[Gpu]:
    """Return the GPUs that nvidia-smi warns of and does not list."""
    listed, taken = {gpu.address for gpu in gpus}, {gpu.index for gpu in gpus}
    found = []
    for address in [one for one in faults if one not in listed]:
        places = [bus.gpus.index(address)] if address in bus.gpus else []
        free = (index for index in itertools.chain(places, itertools.count()) if index not in taken)
        index = next(free)
        taken.add(index)
        found.append(Gpu(index=index, values={}, address=address, found=faults[address]))
    return found


def name_models(bus: Bus, gpus: Sequence[Gpu]) -> dict[str, str]:
    """Return the model of each GPU by its address; a lost one has that of the same device id."""
    told = {gpu.address: gpu.values.get("name", "") for gpu in gpus}
    named = {address: name for address, name in told.items() if name and "[" not in name}
    ids = dict(zip(bus.gpus, bus.ids, strict=True))
    by_id = {ids[address]: name for address, name in named.items() if address in ids}
    return {**{address: by_id.get(one, f"GPU {one}") for address, one in ids.items()}, **named}
