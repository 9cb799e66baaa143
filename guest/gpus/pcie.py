"""The checks of validate-gpus.sh of a GPU's slot: what its link can reach, and its errors."""

import re
from pathlib import Path

from guest.checking.state import read_text
from guest.gpus.device import SILENT, Gpu
from guest.gpus.machine import Machine, ask, sysfs_address
from guest.gpus.report import Report, named

LANES = 16  # every slot of a Cube has 16
#: Source: NVIDIA DCGM, PCIe plugin of its diagnosis, max_pcie_replays.
REPLAY_LIMIT = 80
AER_KINDS = ("fatal", "nonfatal", "correctable")

VIRTUAL = "deferred: a virtual machine shows an emulated slot, the card's own is not seen"


def check_link(report: Report, gpu: Gpu, *, virtual: bool) -> None:
    """The slot gives what the GPU is able of; the link itself slows down while a GPU idles."""
    name = named(gpu.index, "link")
    width, generation = gpu.number("pcie.link.width.max"), gpu.number("pcie.link.gen.max")
    host, able = gpu.number("pcie.link.gen.hostmax"), gpu.able
    if virtual:
        report.skip(name, VIRTUAL)
    elif width is None or generation is None or able is None:
        report.skip(name, SILENT)
    elif width < LANES:
        told = f"x{width:g}, expected x{LANES}: seat the card again, look at its slot"
        report.record(name, good=False, detail=told, value=width, limit=LANES, unit="lanes")
    else:
        reached = min(generation, host or generation)
        told = f"generation {reached:g} x{width:g}"
        advice = f"{told}, the GPU is able of {able:g}: look at the slot and the BIOS"
        good = reached >= able
        report.record(
            name,
            good=good,
            detail=told if good else advice,
            value=reached,
            limit=able,
            unit="generation",
        )


def check_replays(report: Report, gpus: list[Gpu], machine: Machine) -> None:
    """Few packets had to be sent again since the GPU was reset."""
    answer = ask(machine, "nvidia-smi", "--query", "--xml-format")
    found = read_replays(answer.text) if answer.code == 0 else {}
    for gpu in gpus:
        name = named(gpu.index, "PCIe replays")
        counters = found.get(gpu.values["pci.bus_id"].lower())
        if counters is None:
            report.skip(name, SILENT)
            continue
        replays, rollovers = counters
        gpu.figures["pcie_replays"] = replays
        told = f"{replays} since the reset, limit {REPLAY_LIMIT}"
        advice = f"{told}, {rollovers} rollovers: seat the card and its riser again"
        good = replays <= REPLAY_LIMIT and rollovers == 0
        report.record(
            name,
            good=good,
            detail=told if good else advice,
            value=replays,
            limit=REPLAY_LIMIT,
            unit="replays",
        )


def read_replays(xml: str) -> dict[str, tuple[int, int]]:
    """Return the counters of replays and of their rollovers, by address."""
    pattern = (
        r'^"([^"]+)">.*?<replay_counter>(\d+)</replay_counter>'
        r"\s*<replay_rollover_counter>(\d+)<"
    )
    parts = [re.search(pattern, part, re.DOTALL) for part in xml.split("<gpu id=")[1:]]
    return {found[1].lower(): (int(found[2]), int(found[3])) for found in parts if found}


def check_aer(report: Report, gpu: Gpu, machine: Machine) -> None:
    """The kernel saw no uncorrectable error on the link, at the card or at its slot."""
    name = named(gpu.index, "PCIe errors")
    address = sysfs_address(gpu.values["pci.bus_id"])
    device = (machine.hardware / "sys/bus/pci/devices" / address).resolve()
    counts = {kind: count_aer(device, kind) for kind in AER_KINDS}
    known = {kind: count for kind, count in counts.items() if count is not None}
    if not known:
        report.skip(name, "the kernel keeps no AER counters for it")
        return
    gpu.figures["pcie_errors"] = known
    told = ", ".join(f"{count} {kind}" for kind, count in known.items())
    bad = known.get("fatal", 0) + known.get("nonfatal", 0)
    advice = f"{told} since the boot: seat the card and its riser again"
    report.record(
        name, good=bad == 0, detail=advice if bad else told, value=bad, limit=0, unit="errors"
    )


def count_aer(device: Path, kind: str) -> int | None:
    """Sum a kind of errors over the GPU and the slot that it sits in; None without counters.

    Source: the kernel's Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats.
    """
    total = None
    for place in (device, device.parent):
        text = read_text(place / f"aer_dev_{kind}")
        if found := re.search(r"^TOTAL_ERR_\w+ (\d+)$", text, re.MULTILINE):
            total = (total or 0) + int(found[1])
    return total
