"""test-tensorflow-gpu.py: devices, operations, memory and a training step of TensorFlow.

Each part runs in a child of its own, so that a part that crashes or hangs fails by itself.
Without a GPU four logical devices on the processor stand in for them, and what needs GPUs is
deferred.
"""

import argparse
import time
from typing import Any

from guest.suites.command_line import conduct, make_parser, positive
from guest.suites.environment import check_devices, evidence, find_python, gpus_on_bus, probe
from guest.suites.processes import Ended, Worker, say
from guest.suites.report import Report
from guest.suites.tensorflow.checks import (
    check_allocation,
    check_architecture,
    check_operations,
    check_training,
)
from guest.suites.tensorflow.devices import LOGICAL
from guest.suites.tensorflow.operations import OPERATIONS
from guest.suites.tensorflow.worker import MODULE

PROGRAM = "test-tensorflow-gpu.py"

NAMES = (
    "environment", "devices", "GPU architecture", *OPERATIONS, "allocation", "training step",
    "variables equal",
)  # fmt: skip
#: MiB that are written and read back on each device.
ALLOCATION_MIB = {("gpu", False): 2048, ("gpu", True): 512, ("cpu", False): 64, ("cpu", True): 16}
LIMIT_S = {True: 240.0, False: 900.0}


VARIABLES = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "PYTHONUNBUFFERED": "1",
}


def main() -> int:
    """Read the command line, and check."""
    parser = make_parser(PROGRAM, "Check TensorFlow: devices, operations, memory, a training step.")
    parser.add_argument("--python", help="interpreter that has TensorFlow, not the environment's")
    parser.add_argument("--mib", type=positive, help="MiB that are written on each device")
    parser.add_argument("--limit", type=positive, help="seconds until a part counts as hung")
    options = parser.parse_args()
    report = Report(check="tensorflow", names=NAMES, live=not options.json)
    return conduct(PROGRAM, report, lambda: prove(report, options))


def prove(report: Report, options: argparse.Namespace) -> None:
    """Run each part in a child, and check."""
    python = find_python("tensorflow", options.python)
    worker = Worker(module=MODULE, python=python, variables=VARIABLES)
    limit_s = options.limit or LIMIT_S[options.quick]
    say("TensorFlow: probe")
    seen = probe(report, worker, "TensorFlow", limit_s)
    gpus, devices = seen["gpus"], seen["devices"]
    report.evidence = evidence(len(gpus))
    report.figures |= {"devices": devices, "gpus": gpus}
    check_seen(report, len(gpus), devices)
    check_architecture(report, gpus, seen["built_for"], report.versions["tensorflow"])
    check_operations(report, run_part(report, worker, {"act": "calculate"}, limit_s))
    mib = options.mib or ALLOCATION_MIB["gpu" if gpus else "cpu", options.quick]
    check_allocation(
        report, run_part(report, worker, {"act": "allocate", "mib": mib}, limit_s), mib
    )
    job = {"act": "train", "steps": 5 if options.quick else 50}
    check_training(report, run_part(report, worker, job, limit_s), len(devices))


def run_part(report: Report, worker: Worker, job: dict[str, Any], limit_s: float) -> Ended:
    """Run a part; its time, and the end of what a failed one said, go into the figures."""
    act = job["act"]
    say(f"TensorFlow: {act}")
    started = time.monotonic()
    ended = worker.run(job, limit_s)
    report.figures[f"{act}_seconds"] = round(time.monotonic() - started, 1)
    if ended.code != 0:
        report.figures[f"log_of_{act}"] = ended.log[-4000:]
    return ended


def check_seen(report: Report, gpus: int, devices: list[str]) -> None:
    """Check how many GPUs TensorFlow sees, or that it made logical devices where there is none.

    Raises:
        Stop: it does not see what it should.
    """
    if gpus == gpus_on_bus() == 0:
        detail = f"{len(devices)} logical devices on the processor, expected {LOGICAL}"
        report.require("devices", good=len(devices) == LOGICAL, detail=detail)
        return
    hint = "" if gpus else ": is it a build for GPUs, and does the driver answer?"
    check_devices(report, "TensorFlow", gpus, note=hint)
