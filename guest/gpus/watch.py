"""Keeps all GPUs busy by burn.py, and watches them meanwhile."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from guest.checking.program import KILL_S, end
from guest.gpus.device import Gpu
from guest.gpus.machine import Machine
from guest.gpus.nvidia_smi import known_fields, number, query

PYTHON = "opt/cube/venvs/pytorch/bin/python"
BURN = Path(__file__).resolve().with_name("burn.py")

#: PyTorch starts, the bandwidth of each GPU is measured: seconds until all are busy.
START_LIMIT_S = float(os.environ.get("CUBE_LOAD_LIMIT_S", "120"))
END_LIMIT_S = min(15.0, START_LIMIT_S)
#: Below the limit after which the generator ends by itself.
LONGEST_S = 240
#: However slow nvidia-smi is: fewer samples show nothing. The first is a warm-up, and left out.
LEAST_SAMPLES = 3

FIELDS = (
    "utilization.gpu", "temperature.gpu", "power.draw", "pcie.link.gen.gpucurrent",
    "pcie.link.gen.current", "pcie.link.width.current", "clocks_event_reasons.active",
    "clocks_throttle_reasons.active",
)  # fmt: skip

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
            [machine.hardware / PYTHON, "-IB", BURN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        try:
            threading.Thread(target=listen, args=(process, events), daemon=True).start()
            yield process, events
        except LoadError as error:
            complaints.seek(0)
            last = (complaints.read().strip().splitlines() or [""])[-1]
            raise LoadError(f"{error}: {last}" if last else str(error)) from error
        finally:
            end(process, grace_s=KILL_S)


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
    if process.poll() is None:
        return
    with contextlib.suppress(queue.Empty):
        refuse_end(events.get(timeout=KILL_S))
    raise LoadError(f"the load ended by itself, exit code {process.returncode}")


def watch(
    machine: Machine, process: "subprocess.Popen[str]", load: Load, *, seconds: float
) -> None:
    """Sample the GPUs for some seconds, about once a second, as long as the load lives."""
    start = time.monotonic()
    step_s = min(1.0, seconds / 5)
    fields = known_fields(machine, FIELDS)
    while process.poll() is None and (
        time.monotonic() - start < seconds or len(load.samples) < LEAST_SAMPLES
    ):
        rows = query(machine, fields)
        load.samples.append({row["index"]: row for row in rows})
        time.sleep(step_s)
