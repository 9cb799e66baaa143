"""test-pytorch-ddp.py: train a ResNet-50 on one GPU and on all of them, and compare.

Two runs of the same code: one rank, then one rank for each GPU, at the same batch a GPU. Without
a GPU two ranks train a smaller batch on the processor over gloo; what needs GPUs is deferred.
"""

import argparse
import os
from typing import Any

from guest.checking.state import SIMULATED_ROOT
from guest.suites.command_line import conduct, make_parser, positive
from guest.suites.environment import check_devices, evidence, find_python, gpus_on_bus, probe
from guest.suites.processes import Ended, Worker, say
from guest.suites.pytorch.checks import (
    DEFERRED,
    GROUP,
    check_alike,
    check_digests,
    check_logs,
    check_losses,
    check_scaling,
    check_utilisation,
)
from guest.suites.pytorch.figures import Sample, make_figures, make_series, read_sample
from guest.suites.pytorch.plans import PARAMETERS, PLANS, WIDTH
from guest.suites.pytorch.worker import MODULE
from guest.suites.report import CannotRun, Report
from guest.suites.sampler import Sampler

PROGRAM = "test-pytorch-ddp.py"
#: Seconds between two samples: at least one a second is needed, and nvidia-smi takes a while.
PAUSE_S = 0.3

NAMES = (
    "environment", "devices", "single training", "distributed training", "loss finite",
    "loss falling", "parameters identical", "communication errors", "GPUs alike",
    "scaling efficiency", "utilisation",
)  # fmt: skip


VARIABLES = {
    "NCCL_DEBUG": "WARN",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


def main() -> int:
    """Read the command line, and check."""
    options = read_options()
    report = Report(check="pytorch", names=NAMES, live=not options.json)
    return conduct(PROGRAM, report, lambda: prove(report, options))


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(PROGRAM, "Train a ResNet-50 on one GPU and on all of them, and compare.")
    parser.add_argument("--python", help="interpreter that has torch, not the environment's own")
    parser.add_argument("--batch", type=positive, help="images a GPU and step, not the plan's own")
    parser.add_argument("--seconds", type=positive, help="seconds measured on GPUs, not the plan's")
    parser.add_argument(
        "--cpu-ranks", type=positive, default=GROUP, help="ranks without a GPU, at least 2"
    )
    parser.add_argument("--limit", type=positive, help="seconds until a training counts as hung")
    parser.add_argument("--slow-rank", type=int, help="for tests: this rank takes twice the time")
    parser.add_argument("--simulate-gpus", type=positive, help="for tests: so many ranks play GPUs")
    options = parser.parse_args()
    if options.cpu_ranks < GROUP:
        parser.error("--cpu-ranks: two ranks are the least that can be compared")
    return options


def prove(report: Report, options: argparse.Namespace) -> None:
    """Find the devices, train twice, and check."""
    if options.simulate_gpus and not SIMULATED_ROOT:
        raise CannotRun("--simulate-gpus is for tests and needs CUBE_ROOT")
    python = find_python("pytorch", options.python)
    worker = Worker(module=MODULE, python=python, variables=VARIABLES)
    say("looking at torch")
    names = probe(report, worker, "torch")["gpus"]
    gpus = options.simulate_gpus or len(names)
    if gpus == gpus_on_bus() == 0:
        report.skip("devices", DEFERRED.format("a list of devices"))
    else:
        models = f": {', '.join(sorted(set(names)))}" if names else ""
        check_devices(report, "torch", gpus, note=models)
    report.evidence = evidence(0 if options.simulate_gpus else gpus)
    if options.slow_rank is not None:
        report.evidence = "simulated"
    kind = "pretended" if options.simulate_gpus else "gpu" if gpus else "cpu"
    measure(report, options, worker, kind, gpus or options.cpu_ranks)


def measure(
    report: Report, options: argparse.Namespace, worker: Worker, kind: str, ranks: int
) -> None:
    """Train with one rank and with all, and check both."""
    plan = PLANS[kind, options.quick]
    job = vars(plan) | {"act": "launch", "device": "cuda" if kind == "gpu" else "cpu"}
    job["slow_rank"] = options.slow_rank
    job["threads"] = max(1, (os.cpu_count() or 1) // ranks)  # of one rank, also where it is alone
    job |= {"batch": options.batch} if options.batch else {}
    job |= {"seconds": options.seconds} if options.seconds and kind == "gpu" else {}
    job |= {"limit_s": options.limit} if options.limit else {}
    sampler = Sampler(read=read_sample, pause_s=PAUSE_S)
    with sampler.running(wanted=kind != "cpu"):
        single = train_with(report, "single training", worker, job | {"ranks": 1})
        group = train_with(report, "distributed training", worker, job | {"ranks": ranks})
    report.figures |= make_figures(job, ranks, single.result, group.result)
    if kind != "cpu":
        report.figures |= make_series(sampler.samples)
    check_losses(report, group.result["losses"])
    check_digests(report, group.result["digests"], ranks)
    check_logs(report, single.log + group.log, "nccl" if kind == "gpu" else "gloo")
    check_hardware(report, kind, ranks, sampler)


def check_hardware(report: Report, kind: str, ranks: int, sampler: Sampler[Sample]) -> None:
    """Check what only GPUs can show."""
    figures = report.figures
    if kind == "cpu":
        report.skip("GPUs alike", DEFERRED.format("the speed of each GPU"))
        report.skip("scaling efficiency", DEFERRED.format("scaling"))
        report.skip("utilisation", DEFERRED.format("utilisation"))
        return
    check_alike(report, figures["own_images_per_second"])
    one = figures["single_images_per_second"]
    if ranks == 1:
        report.skip("scaling efficiency", "there is one GPU: nothing to scale to")
    else:
        check_scaling(report, one, figures["all_images_per_second"], ranks)
    start, end = figures["window_seconds"]
    taken = [sample for when, sample in sampler.samples if start <= when <= end]
    check_utilisation(report, taken, ranks, end - start)


def train_with(report: Report, name: str, worker: Worker, job: dict[str, Any]) -> Ended:
    """Train with so many ranks.

    Raises:
        Stop: the training failed.
    """
    say(f"{name}: {job['ranks']} ranks on {job['device']}, batch {job['batch']} each")
    ended = worker.run(job, job["limit_s"])
    good = ended.code == 0 and "images_per_second" in ended.result
    if not good:
        report.figures[f"log_of_{name.replace(' ', '_')}"] = ended.log[-4000:]
    detail = ended.fault
    if good:
        detail = (
            f"{ended.result['images_per_second']:.1f} images/s over {ended.result['steps']} steps,"
            f" {ended.result['parameters']} parameters, batch {job['batch']} a rank"
        )
        good = ended.result["parameters"] == PARAMETERS or job["width"] != WIDTH
    report.require(name, good=good, detail=detail)
    return ended
