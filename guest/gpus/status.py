"""The checks of validate-gpus.sh of what the driver says of a GPU's own state."""

import time
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from guest.gpus.device import SILENT, STATUS, Gpu
from guest.gpus.findings import BY_RECOVERY_ACTION
from guest.gpus.idle import SECOND_LOOK_S
from guest.gpus.machine import Machine, ask, sysfs_address
from guest.gpus.nvidia_smi import number, query_details, query_known
from guest.gpus.report import Report

#: How ECC is switched by nvidia-smi, by the mode that it shall have.
ECC_SWITCH = {"Enabled": "1", "Disabled": "0"}
USE = ("utilization.gpu", "memory.used")


def check_status(
    report: Report,
    gpus: Sequence[Gpu],
    details: Mapping[str, Element],
    known: Mapping[str, Mapping[str, str]],
) -> None:
    """Make the checks of each GPU's own state.

    Args:
        report: where the verdicts go.
        gpus: those that answer.
        details: what nvidia-smi's XML says, by address.
        known: fields of `STATUS`, by index.
    """
    for gpu in gpus:
        told = read_status(known.get(str(gpu.index), {}), details.get(gpu.address))
        check_recovery(report, gpu, told)
        check_inforom(report, gpu)
        check_repairs(report, gpu, told)
        check_ecc(report, gpu, told)
        check_mig(report, gpu, told)


def read_status(row: Mapping[str, str], details: Element | None) -> dict[str, str]:
    """Return the fields of `STATUS` that are told, of a query or else of the details."""
    values = {}
    for name, path in STATUS.items():
        value = row.get(name, "")
        if not is_told(value) and details is not None:
            value = details.findtext(path, "").strip()
        if is_told(value):
            values[name] = value
    return values


def is_told(value: str) -> bool:
    """Tell a value from "[N/A]", "N/A", "[Not Supported]" and the like."""
    return bool(value) and not value.startswith("[") and value != "N/A"


def is_yes(told: Mapping[str, str], name: str) -> bool:
    """Tell whether something is pending or was seen: "Yes", or a number above 0."""
    return told.get(name, "").lower() == "yes" or (number(told, name) or 0) > 0


def check_recovery(report: Report, gpu: Gpu, told: Mapping[str, str]) -> None:
    """The driver asks for no reset, and for no restart of the machine."""
    action = told.get("gpu_recovery_action", "")
    finding = ""
    if action and action.lower() != "none":
        finding = BY_RECOVERY_ACTION.get(action.lower(), "unknown recovery")
    elif is_yes(told, "reset_status.reset_required"):
        finding = "reset required"
    elif is_yes(told, "reset_status.drain_and_reset_recommended"):
        finding = "drain and reset"
    elif not action and "reset_status.reset_required" not in told:
        report.skip_gpu(gpu.index, "recovery", SILENT)
        return
    report.settle_gpu(gpu.index, "recovery", finding, detail="nothing is asked for", action=action)


def check_inforom(report: Report, gpu: Gpu) -> None:
    """nvidia-smi warns of no corrupted infoROM."""
    corrupt = gpu.found is not None and gpu.found.finding == "infoROM corrupt"
    finding = "infoROM corrupt" if corrupt else ""
    report.settle_gpu(gpu.index, "infoROM", finding, detail="no warning")


def check_repairs(report: Report, gpu: Gpu, told: Mapping[str, str]) -> None:
    """No page waits to be retired, no row to be remapped, and none could not be."""
    names = ("remapped_rows.failure", "remapped_rows.pending", "retired_pages.pending")
    kinds = ("remapping failed", "remapped rows pending", "retired pages pending")
    if not told.keys() & set(names):
        report.skip_gpu(gpu.index, "memory repairs", "this GPU does not repair its memory")
        return
    seen = [kind for name, kind in zip(names, kinds, strict=True) if is_yes(told, name)]
    finding = seen[0] if seen else ""
    report.settle_gpu(gpu.index, "memory repairs", finding, detail="none is pending")


def check_ecc(report: Report, gpu: Gpu, told: Mapping[str, str]) -> None:
    """ECC has the mode that it shall have."""
    current, pending = told.get("ecc.mode.current"), told.get("ecc.mode.pending")
    if current is None:
        report.skip_gpu(gpu.index, "ECC mode", "this GPU has no ECC")
        return
    differs = pending is not None and pending != current
    report.settle_gpu(
        gpu.index,
        "ECC mode",
        "ECC pending" if differs else "",
        detail=current.lower(),
        current=current.lower(),
        pending=(pending or "").lower(),
        back=ECC_SWITCH.get(current, "0"),
    )


def check_mig(report: Report, gpu: Gpu, told: Mapping[str, str]) -> None:
    """The GPU is whole: programs are meant to see all of it."""
    mode = told.get("mig.mode.current")
    if mode is None:
        report.skip_gpu(gpu.index, "MIG", "this GPU has no MIG")
        return
    finding = "MIG on" if mode == "Enabled" else ""
    report.settle_gpu(gpu.index, "MIG", finding, detail="off")


# --- processes ----------------------------------------------------------------------------


def check_processes(report: Report, gpus: Sequence[Gpu], machine: Machine) -> None:
    """A GPU is in use by a process. One that just ended leaves its traces: it is read twice.

    Raises:
        SmiError: nvidia-smi does not answer any more.
    """
    counts = count_processes(machine, gpus)
    doubtful = [gpu for gpu in gpus if gpu.in_use and counts.get(gpu.address) == 0]
    if doubtful:
        time.sleep(SECOND_LOOK_S)
        rows, counts = query_known(machine, USE), count_processes(machine, gpus)
        for gpu in doubtful:
            gpu.values.update(rows.get(str(gpu.index), {}))
    for gpu in gpus:
        check_use(report, gpu, counts.get(gpu.address))


def check_use(report: Report, gpu: Gpu, processes: int | None) -> None:
    """Check one GPU, whose processes were counted."""
    percent, mib = (gpu.number(name) for name in USE)
    if processes is None or (percent is None and mib is None):
        report.skip_gpu(gpu.index, "processes", SILENT)
        return
    finding = "busy without a process" if gpu.in_use and processes == 0 else ""
    report.settle_gpu(
        gpu.index,
        "processes",
        finding,
        detail=f"{processes} use it" if processes else "idle",
        percent=percent or 0,
        mib=mib or 0,
    )


def count_processes(machine: Machine, gpus: Sequence[Gpu]) -> dict[str, int]:
    """Count the processes on each GPU by its address; one that is not told is left out.

    The details list graphics, too. Where they list nothing at all, only what calculates is known.
    """
    details = {
        address: node
        for address, gpu in query_details(machine).items()
        if (node := gpu.find("processes")) is not None
    }
    if details:
        return {address: len(node.findall("process_info")) for address, node in details.items()}
    fields = "--query-compute-apps=gpu_bus_id,pid"
    answer = ask(machine, "nvidia-smi", fields, "--format=csv,noheader,nounits")
    if answer.code != 0:
        return {}
    used = [sysfs_address(line.partition(",")[0]) for line in answer.text.splitlines()]
    return {gpu.address: used.count(gpu.address) for gpu in gpus}
