"""The checks of validate-gpus.sh under load: every GPU is kept busy, and is watched meanwhile."""

import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gpu_machine
from gpu_idle import (
    BUSY_LIMIT_C,
    LANES,
    SILENT,
    SLOWDOWNS,
    VIRTUAL,
    Gpu,
    described,
    reasons_of,
)
from gpu_machine import Machine, SmiError, number
from gpu_report import LOADED, Report, named

PYTHON = "opt/cube/venvs/pytorch/bin/python"
BURN = Path(__file__).resolve().with_name("gpu_burn.py")

#: PyTorch starts, the bandwidth of each GPU is measured: seconds until all are busy.
START_LIMIT_S = float(os.environ.get("CUBE_LOAD_LIMIT_S", "180"))
END_LIMIT_S = min(15.0, START_LIMIT_S)
#: Below the limit after which the generator ends by itself.
LONGEST_S = 240
#: However slow nvidia-smi is: fewer samples show nothing. The first is a warm-up, and left out.
LEAST_SAMPLES = 3
#: A slowdown that is seen once may be a change of the clocks.
LEAST_SIGHTINGS = 2

FIELDS = (
    "utilization.gpu", "temperature.gpu", "power.draw", "pcie.link.gen.gpucurrent",
    "pcie.link.gen.current", "pcie.link.width.current", "clocks_event_reasons.active",
    "clocks_throttle_reasons.active",
)  # fmt: skip

#: A GPU below this was not really loaded, and what was seen of it says nothing.
BUSY_PERCENT = 80
#: GB/s by the generation of 16 lanes. Source: for 5, 56.3 and 57.3 measured by others on RTX 5090;
#: for 4 and 3, seven tenths of what the wire carries (31.5, 15.8), as no measurement is at hand.
BANDWIDTH_LIMITS = {5: 50.0, 4: 22.0, 3: 11.0}

Event = dict[str, object]


class LoadError(Exception):
    """The GPUs could not be kept busy; the text says why."""


@dataclass(kw_only=True)
class Load:
    """What was seen: GB/s by GPU, and nvidia-smi's values by GPU in each sample."""

    bandwidth: dict[int, tuple[float, float]] = field(default_factory=dict)
    samples: list[dict[str, dict[str, str]]] = field(default_factory=list)
    torch: str = ""

    def series(self, gpu: Gpu, name: str) -> list[float]:
        """Return a field's numbers over the time, without the warm-up."""
        rows = [sample.get(str(gpu.index), {}) for sample in self.samples[1:]]
        values = [number(row, name) for row in rows]
        return [value for value in values if value is not None]


def judge_load(report: Report, machine: Machine, gpus: list[Gpu], *, seconds: float) -> None:
    """Keep all GPUs busy for a while, and judge each of them meanwhile."""
    python = machine.hardware / PYTHON
    if not python.exists():
        return skip_all(report, gpus, f"deferred: there is no PyTorch environment: /{PYTHON}")
    try:
        load = run(machine, gpus, seconds=seconds)
    except (LoadError, SmiError) as error:
        report.judge("load", good=False, detail=str(error))
        return skip_all(report, gpus, "the load failed")
    told = f"{len(gpus)} GPUs busy for {seconds:g} s, {len(load.samples)} samples"
    report.judge("load", good=True, detail=told)
    report.versions["torch"] = load.torch
    virtual = gpu_machine.in_virtual_machine(machine)
    for gpu in gpus:
        judge_gpu(report, gpu, load, virtual=virtual)
    report.figures["samples"] = [render_sample(sample) for sample in load.samples]
    return None


def skip_all(report: Report, gpus: list[Gpu], reason: str) -> None:
    """Say why nothing was judged under load."""
    names = ["load", *(named(gpu.index, what) for gpu in gpus for what in LOADED)]
    for name in names:
        if name not in report.checks:
            report.skip(name, reason)


# --- the load -----------------------------------------------------------------------------


def run(machine: Machine, gpus: list[Gpu], *, seconds: float) -> Load:
    """Start the load, watch it, end it.

    Raises:
        LoadError: it did not start, or ended by itself.
        SmiError: nvidia-smi gave no answer meanwhile.
    """
    load = Load()
    with burning(machine) as (process, events):
        progress("PyTorch starts and measures each GPU's bandwidth")
        wait_for_busy(events, load, gpus)
        progress(f"all GPUs are busy for {seconds:g} s")
        watch(machine, process, load, seconds=seconds)
        check_alive(process, events)
        assert process.stdin
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=END_LIMIT_S)
    return load


def progress(text: str) -> None:
    """Tell what goes on."""
    print(f"... {text}", file=sys.stderr, flush=True)  # noqa: T201 (this is its output)


@contextlib.contextmanager
def burning(
    machine: Machine,
) -> "Iterator[tuple[subprocess.Popen[str], queue.Queue[Event | None]]]":
    """Run the load generator in a process group of its own, which is always ended.

    Yields:
        The process, and what it tells; None is its end.
    """
    events: queue.Queue[Event | None] = queue.Queue()
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # nvidia-smi's order
    environment = {**machine.environment, **order}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [machine.hardware / PYTHON, "-IB", BURN], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=complaints, text=True, errors="replace",
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            threading.Thread(target=listen, args=(process, events), daemon=True).start()
            yield process, events
        except LoadError as error:
            complaints.seek(0)
            last = (complaints.read().strip().splitlines() or [""])[-1]
            raise LoadError(f"{error}: {last}" if last else str(error)) from error
        finally:
            gpu_machine.end(process, grace_s=gpu_machine.KILL_S)


def listen(process: "subprocess.Popen[str]", events: "queue.Queue[Event | None]") -> None:
    """Pass on each event that the generator prints; what is none of them is left out."""
    assert process.stdout
    with contextlib.suppress(ValueError):
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    events.put(event)
    events.put(None)


def wait_for_busy(events: "queue.Queue[Event | None]", load: Load, gpus: list[Gpu]) -> None:
    """Wait until all GPUs are busy; keep what is told until then.

    Raises:
        LoadError: it ended, tells of an error, sees another number of GPUs, or takes too long.
    """
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            event = events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty as error:
            told = f"the GPUs are not busy after {START_LIMIT_S:g} s"
            raise LoadError(told) from error
        refuse_end(event)
        assert event
        if event["event"] == "start":
            load.torch = str(event["torch"])
            if event["gpus"] != len(gpus):
                raise LoadError(f"PyTorch sees {event['gpus']} GPUs, nvidia-smi {len(gpus)}")
        elif event["event"] == "bandwidth":
            rates = [float(str(event[f"to_{end}_gb_per_second"])) for end in ("gpu", "host")]
            index = gpus[int(str(event["gpu"]))].index  # a lost GPU is not counted there
            load.bandwidth[index] = (rates[0], rates[1])
        elif event["event"] == "busy":
            return


def refuse_end(event: Event | None) -> None:
    """Raise LoadError for an event that ends the load."""
    if event is None:
        raise LoadError("the load ended by itself")
    if event["event"] == "error":
        raise LoadError(str(event["detail"]))


def check_alive(process: "subprocess.Popen[str]", events: "queue.Queue[Event | None]") -> None:
    """Raise LoadError when the load ended while it was watched."""
    with contextlib.suppress(queue.Empty):
        refuse_end(events.get_nowait())
    if process.poll() is not None:
        raise LoadError(f"the load ended by itself, exit code {process.returncode}")


def watch(
    machine: Machine, process: "subprocess.Popen[str]", load: Load, *, seconds: float
) -> None:
    """Sample the GPUs for some seconds, about once a second, as long as the load lives."""
    start = time.monotonic()
    step_s = min(1.0, seconds / 5)
    known = gpu_machine.query_known(machine, FIELDS)
    fields = list(next(iter(known.values()), {"index": ""}))
    while process.poll() is None and (
        time.monotonic() - start < seconds or len(load.samples) < LEAST_SAMPLES
    ):
        rows = gpu_machine.query(machine, fields)
        now = f"{time.monotonic() - start:.1f}"
        load.samples.append({row["index"]: {**row, "seconds": now} for row in rows})
        time.sleep(step_s)


def render_sample(sample: dict[str, dict[str, str]]) -> dict[str, object]:
    """Return a sample with units in its names, for plots; None is "not told"."""
    fields = {
        "utilization_percent": "utilization.gpu", "temperature_celsius": "temperature.gpu",
        "power_watts": "power.draw", "pcie_generation": "pcie.link.gen.gpucurrent",
        "pcie_lanes": "pcie.link.width.current",
    }  # fmt: skip
    rows = [
        {"index": number(row, "index")} | {key: number(row, name) for key, name in fields.items()}
        for row in sample.values()
    ]
    first = next(iter(sample.values()), {})
    return {"seconds": number(first, "seconds"), "gpus": rows}


# --- verdicts -----------------------------------------------------------------------------


def judge_gpu(report: Report, gpu: Gpu, load: Load, *, virtual: bool) -> None:
    """Judge what was seen of one GPU."""
    judge_busy(report, gpu, load)
    judge_link(report, gpu, load, virtual=virtual)
    judge_temperature(report, gpu, load)
    judge_throttling(report, gpu, load)
    judge_bandwidth(report, gpu, load)


def judge_busy(report: Report, gpu: Gpu, load: Load) -> None:
    """The GPU was really busy, or nothing here says anything."""
    name, series = named(gpu.index, "load"), load.series(gpu, "utilization.gpu")
    if not series:
        report.skip(name, SILENT)
        return
    percent = statistics.median(series)
    watts = load.series(gpu, "power.draw")
    power = f", up to {max(watts):g} W" if watts else ""
    gpu.figures["power_under_load_watts"] = max(watts) if watts else None
    report.judge(
        name, good=percent >= BUSY_PERCENT, value=percent, limit=BUSY_PERCENT, unit="%",
        detail=f"busy {percent:g} % (median), limit {BUSY_PERCENT} %{power}",
    )  # fmt: skip


def judge_link(report: Report, gpu: Gpu, load: Load, *, virtual: bool) -> None:
    """The link runs at the speed and the width that the GPU is able of, all the time."""
    name = named(gpu.index, "link under load")
    speeds = load.series(gpu, "pcie.link.gen.gpucurrent") or load.series(
        gpu, "pcie.link.gen.current"
    )
    widths = load.series(gpu, "pcie.link.width.current")
    if virtual:
        report.skip(name, VIRTUAL)
        return
    if not speeds or not widths or gpu.able is None:
        report.skip(name, SILENT)
        return
    speed, width = min(speeds), min(widths)
    told = f"generation {speed:g} x{width:g}"
    good = speed >= gpu.able and width >= LANES
    advice = f"{told}, expected generation {gpu.able:g} x{LANES}: seat the card and its riser again"
    report.judge(
        name, good=good, detail=told if good else advice, value=speed, limit=gpu.able,
        unit="generation",
    )  # fmt: skip


def judge_temperature(report: Report, gpu: Gpu, load: Load) -> None:
    """A few seconds of load do not overheat a GPU."""
    name, series = named(gpu.index, "temperature under load"), load.series(gpu, "temperature.gpu")
    if not series:
        report.skip(name, SILENT)
        return
    celsius = max(series)
    report.judge(
        name, good=celsius < BUSY_LIMIT_C, detail=f"{celsius:g} C, limit {BUSY_LIMIT_C} C",
        value=celsius, limit=BUSY_LIMIT_C, unit="C",
    )  # fmt: skip


def judge_throttling(report: Report, gpu: Gpu, load: Load) -> None:
    """Nothing but the power limit holds the clocks down under load."""
    name = named(gpu.index, "throttling under load")
    rows = [sample.get(str(gpu.index), {}) for sample in load.samples[1:]]
    seen = [bits for bits in map(reasons_of, rows) if bits is not None]
    if not seen:
        report.skip(name, SILENT)
        return
    slow = [bits & SLOWDOWNS for bits in seen if bits & SLOWDOWNS]
    told = described(slow[-1] if slow else seen[-1])
    good = len(slow) < LEAST_SIGHTINGS
    share = f"slowed down in {len(slow)} of {len(seen)} samples"
    report.judge(name, good=good, detail=f"{told}; {share}")


def judge_bandwidth(report: Report, gpu: Gpu, load: Load) -> None:
    """Data moves between memory and GPU as fast as the link allows, both ways."""
    name, rates = named(gpu.index, "bandwidth"), load.bandwidth.get(gpu.index)
    limit = BANDWIDTH_LIMITS.get(int(gpu.able or 0))
    if rates is None:
        report.judge(name, good=False, detail="was not measured: the load passed this GPU over")
        return
    gpu.figures["bandwidth_to_gpu_gb_per_second"] = rates[0]
    gpu.figures["bandwidth_to_host_gb_per_second"] = rates[1]
    told = f"{rates[0]:g} GB/s to the GPU, {rates[1]:g} GB/s from it"
    if limit is None:
        report.skip(name, f"{told}; no limit is known for this generation")
        return
    report.judge(
        name, good=min(rates) >= limit, detail=f"{told}, limit {limit:g}", value=min(rates),
        limit=limit, unit="GB/s",
    )  # fmt: skip
