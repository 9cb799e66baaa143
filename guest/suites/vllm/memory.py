"""The memory that an engine uses while it runs."""

import contextlib
import re
from pathlib import Path

from guest.gpus.machine import find_machine
from guest.gpus.nvidia_smi import SmiError, number, query
from guest.suites.processes import family
from guest.suites.report import Report

#: MiB of one GPU, or of all processes together on the processor. The specification's 32 GB is
#: what a card has, so nothing could exceed it: the cache is set to KV_GIB and the rest counted.
MEMORY_LIMIT_MIB = {"gpu": 30 * 1024, "cpu": 8 * 1024}


def used_by_gpus() -> float | None:
    """Return the most memory in use on one GPU, MiB."""
    try:
        rows = query(find_machine(), ("index", "memory.used"))
    except SmiError:
        return None
    return max(
        (used for row in rows if (used := number(row, "memory.used")) is not None), default=None
    )


def used_by_family() -> float | None:
    """Return the memory of all our processes, shared pages counted once, MiB."""
    total = 0
    for pid in family():
        with contextlib.suppress(OSError, ValueError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(one) for one in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))
    return total / 1024 or None


def check_memory(
    report: Report, samples: list[tuple[float, float]], limit_mib: float, *, gpus: int
) -> None:
    """Check the most memory that was in use at once."""
    peak = max((used for _, used in samples), default=0.0)
    where = "on one GPU" if gpus else "by all processes of the engine"
    if not peak:
        source = "nvidia-smi" if gpus else "/proc"
        detail = f"could not be measured: {source} gave no answer"
        report.record("memory", good=False, detail=detail)
        return
    start = samples[0][0]
    report.figures["memory_peak_mib"] = round(peak, 1)
    report.figures["memory"] = {
        "seconds": [round(when - start, 1) for when, _ in samples],
        "used_mib": [round(used, 1) for _, used in samples],
    }
    detail = f"{peak:.0f} MiB {where} at the most, limit {limit_mib:.0f} MiB"
    report.record(
        "memory", good=peak <= limit_mib, detail=detail, value=peak, limit=limit_mib, unit="MiB"
    )
