"""The checks of validate-gpus.sh that each GPU passes without any load."""

import os
import re
import time

from guest.gpus import pcie
from guest.gpus.device import OPTIONAL, SILENT, Gpu
from guest.gpus.machine import Machine, in_virtual_machine
from guest.gpus.nvidia_smi import query, query_known
from guest.gpus.report import Report

#: The specification: an idle GPU stays below.
IDLE_LIMIT_C = 60
#: A GPU in use may be this warm; NVIDIA's consumer cards slow themselves down at about 90.
BUSY_LIMIT_C = 85
#: How often a GPU that cools after work is read again, in seconds.
SETTLE_STEP_S = float(os.environ.get("CUBE_SETTLE_S", "10"))

#: Source: README of NVIDIA's open-gpu-kernel-modules; device 2B85 appears in this release first.
LEAST_DRIVERS = {"0X2B8510DE": "570.86.16"}

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


def check_gpu(report: Report, gpu: Gpu, machine: Machine) -> None:
    """Make the checks of one GPU that need no load; only the first for one that is lost."""
    if gpu.lost:
        report.settle_gpu(gpu.index, "", gpu.found or "lost")
        return
    told = f"{gpu.values['name']}, {gpu.values['uuid']} at {gpu.values['pci.bus_id']}"
    own = gpu.found is None or gpu.found.finding == "infoROM corrupt"  # has a check of its own
    report.settle_gpu(gpu.index, "", "" if own else gpu.found or "", detail=told)
    check_driver(report, gpu)
    check_persistence(report, gpu)
    pcie.check_link(report, gpu, virtual=in_virtual_machine(machine))
    check_memory_errors(report, gpu)
    pcie.check_aer(report, gpu, machine)


def check_driver(report: Report, gpu: Gpu) -> None:
    """The driver knows this GPU since a release."""
    driver = gpu.values["driver_version"]
    least = LEAST_DRIVERS.get(gpu.values["pci.device_id"].upper())
    if least is None:
        told = f"{driver}; which driver this GPU needs at least is not known here"
        report.skip_gpu(gpu.index, "driver", told)
        return
    finding = "" if version(driver) >= version(least) else "driver too old"
    report.settle_gpu(gpu.index, "driver", finding, detail=driver, driver=driver, least=least)


def version(text: str) -> tuple[int, ...]:
    """Return a version's numbers; what is no number makes it the oldest."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def check_memory(report: Report, gpu: Gpu, *, least_mib: int) -> None:
    """The memory is what the specification asks for at least; there is no other tolerance."""
    memory = gpu.number("memory.total")
    told = gpu.values["memory.total"]
    good = memory is not None and memory >= least_mib
    report.settle_gpu(
        gpu.index,
        "memory",
        "" if good else "little memory",
        detail=f"{told} MiB, at least {least_mib}",
        value=memory,
        limit=least_mib,
        unit="MiB",
        told=told,
        expected=least_mib,
    )


def check_temperature(report: Report, gpu: Gpu, *, settled: bool) -> None:
    """An idle GPU is cool; one in use, or one that cools after work, may be warmer.

    Args:
        report: where the verdict goes.
        gpu: the GPU, after `settle`.
        settled: whether a GPU that still cools counts as idle (it had the time).
    """
    celsius = gpu.number("temperature.gpu")
    if celsius is None:
        told = gpu.values["temperature.gpu"]
        report.settle_gpu(gpu.index, "temperature", "no temperature", told=told)
        return
    cools = gpu.cools and not settled
    limit = BUSY_LIMIT_C if gpu.in_use or cools else IDLE_LIMIT_C
    state = "in use" if gpu.in_use else "cooling after work" if cools else "idle"
    told = f"{celsius:g} C, {state}, limit {limit} C"
    report.settle_gpu(
        gpu.index,
        "temperature",
        "" if celsius < limit else "hot",
        detail=told,
        value=celsius,
        limit=limit,
        unit="C",
        told=told,
    )


def settle(machine: Machine, gpus: list[Gpu], *, limit_s: float) -> None:
    """Read the GPUs again that are idle and warm, as long as they cool.

    Raises:
        SmiError: nvidia-smi does not answer any more.
    """
    deadline = time.monotonic() + limit_s
    warm = [gpu for gpu in gpus if too_warm(gpu)]
    while warm and time.monotonic() < deadline:
        time.sleep(SETTLE_STEP_S)
        rows = query(machine, ("index", "temperature.gpu"))
        now = {row["index"]: row.get("temperature.gpu", "") for row in rows}
        for gpu in warm:
            before = gpu.number("temperature.gpu") or 0
            gpu.values["temperature.gpu"] = now.get(str(gpu.index), "")
            gpu.cools = (gpu.number("temperature.gpu") or before) < before
        warm = [gpu for gpu in warm if gpu.cools and too_warm(gpu)]


def too_warm(gpu: Gpu) -> bool:
    """Tell whether a GPU is idle, and above what an idle one may have."""
    return not gpu.in_use and (gpu.number("temperature.gpu") or 0) >= IDLE_LIMIT_C


def check_persistence(report: Report, gpu: Gpu) -> None:
    """The driver stays loaded while no program uses the GPU."""
    mode = gpu.values.get("persistence_mode", "")
    if mode not in {"Enabled", "Disabled"}:
        report.skip_gpu(gpu.index, "persistence", SILENT)
        return
    finding = "" if mode == "Enabled" else "persistence off"
    report.settle_gpu(gpu.index, "persistence", finding, detail="enabled")


def check_memory_errors(report: Report, gpu: Gpu) -> None:
    """GeForce cards say [N/A]: not applicable, which is not zero."""
    errors = gpu.number("ecc.errors.uncorrected.volatile.total")
    if errors is None:
        report.skip_gpu(gpu.index, "memory errors", "this GPU does not count them")
        return
    report.settle_gpu(
        gpu.index,
        "memory errors",
        "memory errors" if errors else "",
        detail="none",
        value=errors,
        limit=0,
        unit="errors",
        count=errors,
    )


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


def check_throttling(report: Report, gpus: list[Gpu], machine: Machine) -> None:
    """Nothing slows the clocks down.

    Raises:
        SmiError: nvidia-smi does not answer any more.
    """
    first = {gpu.index: reasons_of(gpu.values) for gpu in gpus}
    again = first
    if any((bits or 0) & SLOWDOWNS for bits in first.values()):
        time.sleep(SECOND_LOOK_S)
        fields = [name for name in OPTIONAL if name.startswith("clocks_")]
        rows = query_known(machine, fields)
        again = {gpu.index: reasons_of(rows.get(str(gpu.index), {})) for gpu in gpus}
    for gpu in gpus:
        bits, second = first[gpu.index], again[gpu.index]
        if bits is None or second is None:
            report.skip_gpu(gpu.index, "throttling", SILENT)
            continue
        finding, told = "throttled" if bits & second & SLOWDOWNS else "", described(second)
        report.settle_gpu(gpu.index, "throttling", finding, detail=told, told=told)
