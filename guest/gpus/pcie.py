"""The checks of validate-gpus.sh of a GPU's slot: what its link can reach, and its errors."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from guest.checking.state import read_text
from guest.gpus.device import SILENT, Gpu
from guest.gpus.machine import Machine
from guest.gpus.report import Report

LANES = 16  # every slot of a Cube has 16
#: Source: NVIDIA DCGM, PCIe plugin of its diagnosis, max_pcie_replays.
REPLAY_LIMIT = 80
AER_KINDS = ("fatal", "nonfatal", "correctable")

VIRTUAL = "deferred: a virtual machine shows an emulated slot, the card's own is not seen"


def check_link(report: Report, gpu: Gpu, *, virtual: bool) -> None:
    """The slot gives what the GPU is able of; the link itself slows down while a GPU idles."""
    width, generation = gpu.number("pcie.link.width.max"), gpu.number("pcie.link.gen.max")
    host, able = gpu.number("pcie.link.gen.hostmax"), gpu.able
    if virtual:
        report.skip_gpu(gpu.index, "link", VIRTUAL)
    elif width is None or generation is None or able is None:
        report.skip_gpu(gpu.index, "link", SILENT)
    elif width < LANES:
        report.settle_gpu(
            gpu.index,
            "link",
            "narrow link",
            value=width,
            limit=LANES,
            unit="lanes",
            lanes=width,
            expected=LANES,
        )
    else:
        reached = min(generation, host or generation)
        told = f"generation {reached:g} x{width:g}"
        report.settle_gpu(
            gpu.index,
            "link",
            "" if reached >= able else "slow link",
            detail=told,
            value=reached,
            limit=able,
            unit="generation",
            told=told,
            able=able,
        )


def check_replays(report: Report, gpus: Sequence[Gpu], details: Mapping[str, Element]) -> None:
    """Few packets had to be sent again since the GPU was reset."""
    for gpu in gpus:
        counters = read_replays(details.get(gpu.address))
        if counters is None:
            report.skip_gpu(gpu.index, "PCIe replays", SILENT)
            continue
        replays, rollovers = counters
        gpu.figures["pcie_replays"] = replays
        told = f"{replays} since the reset, limit {REPLAY_LIMIT}"
        good = replays <= REPLAY_LIMIT and rollovers == 0
        report.settle_gpu(
            gpu.index,
            "PCIe replays",
            "" if good else "replays",
            detail=told,
            value=replays,
            limit=REPLAY_LIMIT,
            unit="replays",
            told=told,
            rollovers=rollovers,
        )


def read_replays(details: Element | None) -> tuple[int, int] | None:
    """Return the counters of replays and of their rollovers; None where they are not told."""
    names = ("replay_counter", "replay_rollover_counter")
    texts = [details.findtext(f"pci/{name}", "") for name in names] if details is not None else []
    return (int(texts[0]), int(texts[1])) if texts and all(map(str.isdigit, texts)) else None


def check_aer(report: Report, gpu: Gpu, machine: Machine) -> None:
    """The kernel saw no uncorrectable error on the link, at the card or at its slot."""
    device = (machine.hardware / "sys/bus/pci/devices" / gpu.address).resolve()
    counts = {kind: count_aer(device, kind) for kind in AER_KINDS}
    known = {kind: count for kind, count in counts.items() if count is not None}
    if not known:
        report.skip_gpu(gpu.index, "PCIe errors", "the kernel keeps no AER counters for it")
        return
    gpu.figures["pcie_errors"] = known
    told = ", ".join(f"{count} {kind}" for kind, count in known.items())
    bad = known.get("fatal", 0) + known.get("nonfatal", 0)
    report.settle_gpu(
        gpu.index,
        "PCIe errors",
        "PCIe errors" if bad else "",
        detail=told,
        value=bad,
        limit=0,
        unit="errors",
        told=told,
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
