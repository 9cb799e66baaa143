"""The checks of validate-gpus.sh under load: every GPU is kept busy, and is watched meanwhile."""

import statistics

from guest.gpus import watch
from guest.gpus.device import SILENT, Gpu
from guest.gpus.findings import find
from guest.gpus.idle import BUSY_LIMIT_C, SLOWDOWNS, described, reasons_of
from guest.gpus.machine import Machine, in_virtual_machine
from guest.gpus.nvidia_smi import SmiError, number
from guest.gpus.pcie import LANES, VIRTUAL
from guest.gpus.report import LOADED, Report, named
from guest.gpus.watch import PYTHON, Load, LoadError

#: A slowdown that is seen once may be a change of the clocks.
LEAST_SIGHTINGS = 2

#: A GPU below this was not really loaded, and what was seen of it says nothing.
BUSY_PERCENT = 80
#: GB/s by the generation of 16 lanes. Source: for 5, 56.3 and 57.3 measured by others on RTX 5090;
#: for 4 and 3, seven tenths of what the wire carries (31.5, 15.8), as no measurement is at hand.
BANDWIDTH_LIMITS = {5: 50.0, 4: 22.0, 3: 11.0}

#: Figures that are plotted over the samples, by their fields.
SERIES = {
    "utilisation_percent": "utilization.gpu", "temperature_celsius": "temperature.gpu",
    "power_watts": "power.draw", "pcie_generation": "pcie.link.gen.gpucurrent",
    "pcie_lanes": "pcie.link.width.current",
}  # fmt: skip


def check_load(report: Report, machine: Machine, gpus: list[Gpu], *, seconds: float) -> None:
    """Keep all GPUs busy for a while, and judge each of them meanwhile."""
    python = machine.hardware / PYTHON
    if not python.exists():
        return skip_all(report, gpus, f"deferred: there is no PyTorch environment: /{PYTHON}")
    try:
        load = watch.run(machine, gpus, seconds=seconds)
    except (LoadError, SmiError) as error:
        report.settle("load", find("load failed", told=error))
        return skip_all(report, gpus, "the load failed")
    told = f"{len(gpus)} GPUs busy for {seconds:g} s, {len(load.samples)} samples"
    report.record("load", good=True, detail=told)
    report.versions["torch"] = load.torch
    virtual = in_virtual_machine(machine)
    for gpu in gpus:
        check_gpu(report, gpu, load, virtual=virtual)
    report.figures.update(render_series(load, gpus))
    return None


def skip_all(report: Report, gpus: list[Gpu], reason: str) -> None:
    """Say why nothing was judged under load."""
    names = ["load", *(named(gpu.index, what) for gpu in gpus for what in LOADED)]
    for name in names:
        if name not in report.checks:
            report.skip(name, reason)


def render_series(load: Load, gpus: list[Gpu]) -> dict[str, object]:
    """Return figures for plots: each GPU's values in every sample; None is "not told"."""
    rows = {
        f"GPU {gpu.index}": [sample.get(str(gpu.index), {}) for sample in load.samples]
        for gpu in gpus
    }
    series = {
        key: {gpu: [number(row, name) for row in seen] for gpu, seen in rows.items()}
        for key, name in SERIES.items()
    }
    ways = {
        f"bandwidth_to_{end}_gigabytes_per_second": {
            f"GPU {index}": rates[way] for index, rates in sorted(load.bandwidth.items())
        }
        for way, end in enumerate(("gpu", "host"))
    }
    told = {key: lines for key, lines in series.items() if is_told(lines)}
    return {**told, **ways}


def is_told(lines: dict[str, list[float | None]]) -> bool:
    """Tell whether any GPU has a value."""
    return any(value is not None for values in lines.values() for value in values)


def check_gpu(report: Report, gpu: Gpu, load: Load, *, virtual: bool) -> None:
    """Judge what was seen of one GPU."""
    check_busy(report, gpu, load)
    check_link(report, gpu, load, virtual=virtual)
    check_temperature(report, gpu, load)
    check_throttling(report, gpu, load)
    check_bandwidth(report, gpu, load)


def check_busy(report: Report, gpu: Gpu, load: Load) -> None:
    """The GPU was really busy, or nothing here says anything."""
    series = load.series(gpu, "utilization.gpu")
    rows = [sample.get(str(gpu.index), {"gone": "lost"}) for sample in load.samples]
    if any("lost" in value.lower() for row in rows for value in row.values()):
        report.settle_gpu(gpu.index, "load", "lost under load")
        return
    if not series:
        report.skip_gpu(gpu.index, "load", SILENT)
        return
    percent = statistics.median(series)
    watts = load.series(gpu, "power.draw")
    power = f", up to {max(watts):g} W" if watts else ""
    gpu.figures["power_under_load_watts"] = max(watts) if watts else None
    told = f"busy {percent:g} % (median), limit {BUSY_PERCENT} %{power}"
    report.settle_gpu(
        gpu.index,
        "load",
        "" if percent >= BUSY_PERCENT else "not busy",
        detail=told,
        value=percent,
        limit=BUSY_PERCENT,
        unit="%",
        told=told,
    )


def check_link(report: Report, gpu: Gpu, load: Load, *, virtual: bool) -> None:
    """The link runs at the speed and the width that the GPU is able of, all the time."""
    speeds = load.series(gpu, "pcie.link.gen.gpucurrent") or load.series(
        gpu, "pcie.link.gen.current"
    )
    widths = load.series(gpu, "pcie.link.width.current")
    if virtual:
        report.skip_gpu(gpu.index, "link under load", VIRTUAL)
        return
    if not speeds or not widths or gpu.able is None:
        report.skip_gpu(gpu.index, "link under load", SILENT)
        return
    speed, width = min(speeds), min(widths)
    told = f"generation {speed:g} x{width:g}"
    good = speed >= gpu.able and width >= LANES
    report.settle_gpu(
        gpu.index,
        "link under load",
        "" if good else "slow link under load",
        detail=told,
        value=speed,
        limit=gpu.able,
        unit="generation",
        told=told,
        able=gpu.able,
        lanes=LANES,
    )


def check_temperature(report: Report, gpu: Gpu, load: Load) -> None:
    """A few seconds of load do not overheat a GPU."""
    series = load.series(gpu, "temperature.gpu")
    if not series:
        report.skip_gpu(gpu.index, "temperature under load", SILENT)
        return
    celsius = max(series)
    told = f"{celsius:g} C, limit {BUSY_LIMIT_C} C"
    report.settle_gpu(
        gpu.index,
        "temperature under load",
        "" if celsius < BUSY_LIMIT_C else "hot",
        detail=told,
        value=celsius,
        limit=BUSY_LIMIT_C,
        unit="C",
        told=told,
    )


def check_throttling(report: Report, gpu: Gpu, load: Load) -> None:
    """Nothing but the power limit holds the clocks down under load."""
    rows = [sample.get(str(gpu.index), {}) for sample in load.samples[1:]]
    seen = [bits for bits in map(reasons_of, rows) if bits is not None]
    if not seen:
        report.skip_gpu(gpu.index, "throttling under load", SILENT)
        return
    slow = [bits & SLOWDOWNS for bits in seen if bits & SLOWDOWNS]
    reasons = described(slow[-1] if slow else seen[-1])
    told = f"{reasons}; slowed down in {len(slow)} of {len(seen)} samples"
    finding = "" if len(slow) < LEAST_SIGHTINGS else "throttled"
    report.settle_gpu(gpu.index, "throttling under load", finding, detail=told, told=told)


def check_bandwidth(report: Report, gpu: Gpu, load: Load) -> None:
    """Data moves between memory and GPU as fast as the link allows, both ways."""
    rates = load.bandwidth.get(gpu.index)
    limit = BANDWIDTH_LIMITS.get(int(gpu.able or 0))
    if rates is None:
        report.settle_gpu(gpu.index, "bandwidth", "not measured")
        return
    gpu.figures["bandwidth_to_gpu_gigabytes_per_second"] = rates[0]
    gpu.figures["bandwidth_to_host_gigabytes_per_second"] = rates[1]
    told = f"{rates[0]:g} GB/s to the GPU, {rates[1]:g} GB/s from it"
    if limit is None:
        told += "; no limit is known for this generation"
        report.skip_gpu(gpu.index, "bandwidth", told)
        return
    report.settle_gpu(
        gpu.index,
        "bandwidth",
        "" if min(rates) >= limit else "slow copies",
        detail=f"{told}, limit {limit:g}",
        value=min(rates),
        limit=limit,
        unit="GB/s",
        told=told,
        least=limit,
    )
