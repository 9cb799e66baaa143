"""The checks of validate-gpus.sh that each GPU passes without any load."""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import gpu_machine
from gpu_machine import Machine, number
from gpu_report import Report, named

REQUIRED = (
    "index", "name", "uuid", "pci.bus_id", "pci.device_id", "driver_version", "memory.total",
    "temperature.gpu",
)  # fmt: skip
#: Fields that some drivers do not know. The clocks' reasons have their old name, too.
OPTIONAL = (
    "persistence_mode", "pcie.link.gen.max", "pcie.link.gen.gpumax", "pcie.link.gen.hostmax",
    "pcie.link.width.max", "ecc.errors.uncorrected.volatile.total", "utilization.gpu",
    "memory.used", "power.draw", "clocks_event_reasons.active", "clocks_throttle_reasons.active",
    "serial", "vbios_version",
)  # fmt: skip

#: The specification: an idle GPU stays below.
IDLE_LIMIT_C = 60
#: A GPU in use may be this warm; NVIDIA's consumer cards slow themselves down at about 90.
BUSY_LIMIT_C = 85
#: Above either, a GPU is in use: what a driver without any program holds is far less.
IN_USE_PERCENT, IN_USE_MIB = 5, 1024
#: How often a GPU that cools after work is read again, in seconds.
SETTLE_STEP_S = float(os.environ.get("CUBE_SETTLE_S", "10"))

LANES = 16  # every slot of a Cube has 16
#: Source: README of NVIDIA's open-gpu-kernel-modules; device 2B85 appears in this release first.
LEAST_DRIVERS = {"0X2B8510DE": "570.86.16"}
#: Words that make another model of the one whose name they follow.
OTHER_MODELS = {"d", "laptop", "max", "mobile", "super", "ti"}

#: Source: nvml.h, nvmlClocksEventReasons.
REASONS = {
    0x1: "idle", 0x2: "clocks set by a user", 0x4: "power limit", 0x8: "hardware slowdown",
    0x10: "sync boost", 0x20: "software thermal slowdown", 0x40: "hardware thermal slowdown",
    0x80: "power brake", 0x100: "display clocks",
}  # fmt: skip
#: Those that say that something is wrong. The power limit is not: full load reaches it.
SLOWDOWNS = 0x8 | 0x20 | 0x40 | 0x80
#: A change of the clocks sets "hardware slowdown" for a moment (nvml.h): it is read twice.
SECOND_LOOK_S = min(1.0, SETTLE_STEP_S)

#: Source: NVIDIA DCGM, PCIe plugin of its diagnosis, max_pcie_replays.
REPLAY_LIMIT = 80
AER_KINDS = ("fatal", "nonfatal", "correctable")

VIRTUAL = "deferred: a virtual machine shows an emulated slot, the card's own is not seen"
SILENT = "the driver does not say"


@dataclass(kw_only=True)
class Gpu:
    """A GPU as nvidia-smi describes it."""

    index: int
    values: dict[str, str]
    cools: bool = False
    figures: dict[str, object] = field(default_factory=dict)

    @property
    def lost(self) -> bool:
        """Tell whether it answers with words instead of values, at exit code 0."""
        return any("lost" in value.lower() for value in self.values.values())

    @property
    def in_use(self) -> bool:
        """Tell whether a program works on it."""
        percent, mib = self.number("utilization.gpu"), self.number("memory.used")
        return (percent or 0) > IN_USE_PERCENT or (mib or 0) > IN_USE_MIB

    @property
    def able(self) -> float | None:
        """Return the PCIe generation that the GPU itself is able of."""
        return self.number("pcie.link.gen.gpumax") or self.number("pcie.link.gen.max")

    def number(self, name: str) -> float | None:
        """Return a value; None for "[N/A]", which is not zero."""
        return number(self.values, name)


def judge_gpu(report: Report, gpu: Gpu, machine: Machine) -> None:
    """Make the checks of one GPU that need no load; only the first for one that is lost."""
    if gpu.lost:
        lost = "lost: restart the machine, then look for Xid lines in the kernel log"
        report.judge(named(gpu.index, ""), good=False, detail=lost)
        return
    told = f"{gpu.values['name']}, {gpu.values['uuid']} at {gpu.values['pci.bus_id']}"
    report.judge(named(gpu.index, ""), good=True, detail=told)
    judge_driver(report, gpu)
    judge_persistence(report, gpu)
    judge_link(report, gpu, virtual=gpu_machine.in_virtual_machine(machine))
    judge_memory_errors(report, gpu)
    judge_aer(report, gpu, machine)


def judge_driver(report: Report, gpu: Gpu) -> None:
    """The driver knows this GPU since a release."""
    name, driver = named(gpu.index, "driver"), gpu.values["driver_version"]
    least = LEAST_DRIVERS.get(gpu.values["pci.device_id"].upper())
    if least is None:
        report.skip(name, f"{driver}; which driver this GPU needs at least is not known here")
        return
    good = version(driver) >= version(least)
    report.judge(name, good=good, detail=driver if good else f"{driver}, this GPU needs {least}")


def version(text: str) -> tuple[int, ...]:
    """Return a version's numbers; what is no number makes it the oldest."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def judge_memory(report: Report, gpu: Gpu, *, least_mib: int) -> None:
    """The memory is what the specification asks for at least; there is no other tolerance."""
    memory = gpu.number("memory.total")
    told = f"{gpu.values['memory.total']} MiB"
    good = memory is not None and memory >= least_mib
    report.judge(
        named(gpu.index, "memory"), good=good, value=memory, limit=least_mib, unit="MiB",
        detail=f"{told}, at least {least_mib}" if good else f"{told}, expected {least_mib}",
    )  # fmt: skip


def judge_temperature(report: Report, gpu: Gpu, *, settled: bool) -> None:
    """An idle GPU is cool; one in use, or one that cools after work, may be warmer.

    Args:
        report: where the verdict goes.
        gpu: the GPU, after `settle`.
        settled: whether a GPU that still cools counts as idle (it had the time).
    """
    name, celsius = named(gpu.index, "temperature"), gpu.number("temperature.gpu")
    if celsius is None:
        told = f"cannot be read: {gpu.values['temperature.gpu']}"
        report.judge(name, good=False, detail=told)
        return
    cools = gpu.cools and not settled
    limit = BUSY_LIMIT_C if gpu.in_use or cools else IDLE_LIMIT_C
    state = "in use" if gpu.in_use else "cooling after work" if cools else "idle"
    report.judge(
        name, good=celsius < limit, detail=f"{celsius:g} C, {state}, limit {limit} C",
        value=celsius, limit=limit, unit="C",
    )  # fmt: skip


def settle(machine: Machine, gpus: list[Gpu], *, limit_s: float) -> None:
    """Read the GPUs again that are idle and warm, as long as they cool.

    Raises:
        SmiError: nvidia-smi does not answer any more.
    """
    deadline = time.monotonic() + limit_s
    warm = [gpu for gpu in gpus if too_warm(gpu)]
    while warm and time.monotonic() < deadline:
        time.sleep(SETTLE_STEP_S)
        rows = gpu_machine.query(machine, ("index", "temperature.gpu"))
        now = {row["index"]: row.get("temperature.gpu", "") for row in rows}
        for gpu in warm:
            before = gpu.number("temperature.gpu") or 0
            gpu.values["temperature.gpu"] = now.get(str(gpu.index), "")
            gpu.cools = (gpu.number("temperature.gpu") or before) < before
        warm = [gpu for gpu in warm if gpu.cools and too_warm(gpu)]


def too_warm(gpu: Gpu) -> bool:
    """Tell whether a GPU is idle, and above what an idle one may have."""
    return not gpu.in_use and (gpu.number("temperature.gpu") or 0) >= IDLE_LIMIT_C


def judge_persistence(report: Report, gpu: Gpu) -> None:
    """The driver stays loaded while no program uses the GPU."""
    name, mode = named(gpu.index, "persistence"), gpu.values.get("persistence_mode", "")
    if mode not in {"Enabled", "Disabled"}:
        report.skip(name, SILENT)
        return
    advice = "disabled: systemctl enable --now nvidia-persistenced"
    good = mode == "Enabled"
    report.judge(name, good=good, detail="enabled" if good else advice)


def judge_link(report: Report, gpu: Gpu, *, virtual: bool) -> None:
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
        report.judge(name, good=False, detail=told, value=width, limit=LANES, unit="lanes")
    else:
        reached = min(generation, host or generation)
        told = f"generation {reached:g} x{width:g}"
        advice = f"{told}, the GPU is able of {able:g}: look at the slot and the BIOS"
        good = reached >= able
        report.judge(
            name, good=good, detail=told if good else advice, value=reached, limit=able,
            unit="generation",
        )  # fmt: skip


def judge_memory_errors(report: Report, gpu: Gpu) -> None:
    """GeForce cards say [N/A]: not applicable, which is not zero."""
    name = named(gpu.index, "memory errors")
    errors = gpu.number("ecc.errors.uncorrected.volatile.total")
    if errors is None:
        report.skip(name, "this GPU does not count them")
        return
    told = f"{errors:g} uncorrected since the driver was loaded" if errors else "none"
    report.judge(name, good=errors == 0, detail=told, value=errors, limit=0, unit="errors")


# --- clocks -------------------------------------------------------------------------------


def reasons_of(values: dict[str, str]) -> int | None:
    """Return the bits of what holds the clocks down; None where the driver does not say."""
    for name in ("clocks_event_reasons.active", "clocks_throttle_reasons.active"):
        if re.fullmatch(r"0x[0-9a-fA-F]+", values.get(name, "")):
            return int(values[name], 16)
    return None


def described(bits: int) -> str:
    """Name the reasons; a bit that is not known here is shown as it is."""
    known = [word for bit, word in REASONS.items() if bits & bit]
    rest = bits & ~sum(REASONS)
    return ", ".join([*known, *([f"unknown reason {rest:#x}"] if rest else [])]) or "none"


def judge_throttling(report: Report, gpus: list[Gpu], machine: Machine) -> None:
    """Nothing slows the clocks down.

    Raises:
        SmiError: nvidia-smi does not answer any more.
    """
    first = {gpu.index: reasons_of(gpu.values) for gpu in gpus}
    again = first
    if any((bits or 0) & SLOWDOWNS for bits in first.values()):
        time.sleep(SECOND_LOOK_S)
        fields = [name for name in OPTIONAL if name.startswith("clocks_")]
        rows = gpu_machine.query_known(machine, fields)
        again = {gpu.index: reasons_of(rows.get(str(gpu.index), {})) for gpu in gpus}
    for gpu in gpus:
        bits, second = first[gpu.index], again[gpu.index]
        name = named(gpu.index, "throttling")
        if bits is None or second is None:
            report.skip(name, SILENT)
            continue
        report.judge(name, good=not bits & second & SLOWDOWNS, detail=described(second))


# --- PCIe errors --------------------------------------------------------------------------


def judge_replays(report: Report, gpus: list[Gpu], machine: Machine) -> None:
    """Few packets had to be sent again since the GPU was reset."""
    answer = gpu_machine.ask(machine, "nvidia-smi", "--query", "--xml-format")
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
        report.judge(
            name, good=good, detail=told if good else advice, value=replays, limit=REPLAY_LIMIT,
            unit="replays",
        )  # fmt: skip


def read_replays(xml: str) -> dict[str, tuple[int, int]]:
    """Return the counters of replays and of their rollovers, by address."""
    pattern = (
        r'^"([^"]+)">.*?<replay_counter>(\d+)</replay_counter>'
        r"\s*<replay_rollover_counter>(\d+)<"
    )
    parts = [re.search(pattern, part, re.DOTALL) for part in xml.split("<gpu id=")[1:]]
    return {found[1].lower(): (int(found[2]), int(found[3])) for found in parts if found}


def judge_aer(report: Report, gpu: Gpu, machine: Machine) -> None:
    """The kernel saw no uncorrectable error on the link, at the card or at its slot."""
    name = named(gpu.index, "PCIe errors")
    address = gpu_machine.sysfs_address(gpu.values["pci.bus_id"])
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
    report.judge(
        name, good=bad == 0, detail=advice if bad else told, value=bad, limit=0, unit="errors"
    )


def count_aer(device: Path, kind: str) -> int | None:
    """Sum a kind of errors over the GPU and the slot that it sits in; None without counters.

    Source: the kernel's Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats.
    """
    total = None
    for place in (device, device.parent):
        text = gpu_machine.read_text(place / f"aer_dev_{kind}")
        if found := re.search(r"^TOTAL_ERR_\w+ (\d+)$", text, re.MULTILINE):
            total = (total or 0) + int(found[1])
    return total
