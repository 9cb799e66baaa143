#!/usr/bin/python3 -IB
"""Prove distributed training on this box: torchrun, a ResNet-50 of our own, DDP on every GPU.

Two runs of the same code: one rank, then one rank for each GPU, at the same batch a GPU.
Without a GPU two ranks train a smaller batch on the processor over gloo; what needs GPUs is
deferred. This process needs Python's own library only: torch runs in children, which end with it.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import re
import runpy
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ.get("CUBE_LIB", "/usr/local/lib/cube"))  # python3 -I leaves it out

from suite_process import WORKER, Ended, end_with_parent, hand_back, run_worker, say
from suite_report import (
    ROOT,
    CannotRun,
    Report,
    conduct,
    count_gpus,
    expected_gpus,
    find_python,
    is_simulated,
    make_parser,
    one_line,
    positive,
)

NAMES = (
    "environment", "devices", "single training", "distributed training", "loss finite",
    "loss falling", "parameters identical", "communication errors", "GPUs alike",
    "scaling efficiency", "utilisation",
)  # fmt: skip
DEFERRED = "deferred: {} needs GPUs, and this run was on the processor"

#: Source: the specification's gates for training.
SCALING_LIMIT = 80.0
UTILISATION_LIMIT = 90.0
#: Cards of one model differ by a few percent; more is a fault (power, heat, slot). Our choice.
ALIKE_LIMIT = 90.0
#: Samples a second. Source: docs/validate.md, "PyTorch".
SAMPLE_RATE = 1.0
#: Source: He et al., "Deep Residual Learning", and torchvision's resnet50, which has as many.
PARAMETERS = 25_557_032
#: Channels of the first layer of the real ResNet-50.
WIDTH = 64
#: Fewer ranks than this have nothing to compare.
GROUP = 2
#: Words of NCCL, gloo and torch when ranks lose each other.
FAULTS = re.compile(
    r"NCCL (?:error|failure)|ncclSystemError|ncclInternalError|ncclRemoteError"
    r"|ncclUnhandledCudaError|ncclInvalid(?:Usage|Argument)|DistBackendError"
    r"|Watchdog caught collective|collective operation timeout|Connection (?:reset|closed) by peer"
    r"|Gloo connect\w* failed|NCCL WARN .*(?:[Ff]ail|[Ee]rror|[Aa]bort|[Tt]imeout)"
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of a training; `seconds` is the least that is measured on GPUs."""

    batch: int
    image: int
    warmup: int
    steps: int
    seconds: float
    limit_s: float
    alone: int = 2
    width: int = WIDTH
    pretend_s: float = 0.0


#: On GPUs the efficiency depends on the batch: 63, 79, 86 and 94 % at 64, 128, 256 and 512 images
#: for fp16 on RTX 4090. Source: shared measurements of others, docs/validate.md.
PLANS = {
    ("gpu", False): Plan(
        batch=256, image=224, warmup=10, steps=50, seconds=30, limit_s=900, alone=20
    ),
    ("gpu", True): Plan(
        batch=256, image=224, warmup=5, steps=20, seconds=12, limit_s=600, alone=10
    ),
    ("cpu", False): Plan(batch=8, image=96, warmup=2, steps=16, seconds=0, limit_s=900),
    ("cpu", True): Plan(batch=4, image=64, warmup=1, steps=8, seconds=0, limit_s=300, alone=1),
    ("pretended", False): Plan(
        batch=4, image=32, warmup=1, steps=8, seconds=0, limit_s=300, width=4, pretend_s=1.0
    ),
    ("pretended", True): Plan(
        batch=4, image=32, warmup=1, steps=6, seconds=0, limit_s=300, width=4, pretend_s=0.8
    ),
}


# -- the sampler


@dataclass(kw_only=True)
class Sampler:
    """Asks nvidia-smi at least once a second while a block runs."""

    samples: list[tuple[float, list[list[float | None]]]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    fields: tuple[str, ...] = ("utilization.gpu", "power.draw", "temperature.gpu", "memory.used")

    @contextlib.contextmanager
    def running(self, wanted: bool) -> Iterator[None]:
        """Sample while the block runs."""
        thread = threading.Thread(target=self.sample, daemon=True)
        if wanted:
            thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            if wanted:
                thread.join(timeout=10)

    def sample(self) -> None:
        """Take samples until stopped; a failed one leaves a gap, which is judged."""
        query = f"--query-gpu={','.join(self.fields)}"
        while not self.stopped.wait(0.3):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                told = subprocess.run(
                    ["nvidia-smi", query, "--format=csv,noheader,nounits"],
                    capture_output=True,
                    text=True,
                    timeout=5,
                    check=True,
                ).stdout
                rows = [[number(word) for word in line.split(",")] for line in told.splitlines()]
                self.samples.append((time.time(), rows))

    def between(self, start: float, end: float) -> list[list[list[float | None]]]:
        """Return the samples of a time."""
        return [rows for when, rows in self.samples if start <= when <= end]

    def series(self) -> dict[str, Any]:
        """Return everything for plots: for each field one list a GPU."""
        gpus = max((len(rows) for _, rows in self.samples), default=0)
        start = self.samples[0][0] if self.samples else 0.0
        names = ("utilisation_percent", "power_watts", "temperature_celsius", "memory_used_mib")
        fields = {
            name: {
                f"GPU {gpu}": [
                    rows[gpu][at] if gpu < len(rows) else None for _, rows in self.samples
                ]
                for gpu in range(gpus)
            }
            for at, name in enumerate(names)
        }
        return {
            "sampled_at_seconds": [round(when - start, 2) for when, _ in self.samples],
            **fields,
        }


def number(word: str) -> float | None:
    """Read a number; words such as [N/A] are none."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# -- what runs in torch's environment


def launch(job: dict[str, Any]) -> None:
    """Become torchrun, which starts this file once for each rank."""
    end_with_parent()
    ranks = f"--nproc-per-node={job['ranks']}"
    sys.argv = ["torchrun", "--standalone", ranks, str(Path(__file__).resolve())]
    runpy.run_module("torch.distributed.run", run_name="__main__")


def probe(job: dict[str, Any]) -> None:
    """Say what torch is and sees."""
    import torch

    cuda = torch.cuda.is_available()
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] if cuda else []
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if cuda else ""
    hand_back(
        job,
        {
            "versions": {
                "torch": torch.__version__,
                "python": sys.version.split()[0],
                "cuda": torch.version.cuda or "",
                "nccl": nccl,
                "cudnn": str(torch.backends.cudnn.version() or "") if cuda else "",
            },
            "gpus": gpus,
        },
    )


def rank(job: dict[str, Any]) -> None:
    """Train as one of the ranks; the first one tells what all did, a failing one its fault."""
    end_with_parent()
    import torch

    me = os.environ["RANK"]
    try:
        train(job, int(me), int(os.environ["WORLD_SIZE"]))
    except torch.OutOfMemoryError as error:
        wanted = one_line(str(error).split(". ")[0])
        advice = f"batch {job['batch']} is too large, or another program holds the memory"
        hand_back(job, {"error": f"rank {me}: out of memory: {wanted}: {advice}"})
        raise
    except Exception as error:
        hand_back(job, {"error": f"rank {me}: {type(error).__name__}: {one_line(str(error))}"})
        raise


def train(job: dict[str, Any], me: int, ranks: int) -> None:
    """Train, measure, compare the ranks."""
    import torch
    import torch.distributed as dist

    device = join(job)
    torch.manual_seed(1)
    network = make_resnet50(job["width"]).to(device, memory_format=torch.channels_last)
    pace = Pace(job=job, device=device, delayed=ranks > 1 and job["slow_rank"] == me)
    torch.manual_seed(100 + me)
    pace.make_data()
    own = pace.measure_alone(network)

    gpu = device.type == "cuda"
    model = torch.nn.parallel.DistributedDataParallel(network, device_ids=[device] if gpu else None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    # NCCL starts, and cuDNN chooses, in the first steps: a later one tells how many are needed.
    pace.steps(model, optimizer, job["warmup"])
    slowest = torch.tensor(pace.steps(model, optimizer, job["alone"]), device=device)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    steps = max(job["steps"], math.ceil(job["seconds"] / float(slowest)))
    if me == 0:
        say(f"{ranks} ranks: measuring {steps} steps of {float(slowest):.2f} s")
    dist.barrier()
    started, began = pace.now(), time.time()
    pace.steps(model, optimizer, steps)
    dist.barrier()
    elapsed, ended = pace.now() - started, time.time()

    losses = torch.stack(pace.losses).float()
    dist.all_reduce(losses)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if gpu else None
    told: list[Any] = [None] * ranks
    dist.all_gather_object(told, (digest(network), own, peak))
    if me == 0:
        hand_back(
            job,
            {
                "parameters": sum(one.numel() for one in network.parameters()),
                "steps": steps,
                "images_per_second": ranks * job["batch"] * steps / elapsed,
                "elapsed_seconds": elapsed,
                "window": [began, ended],
                "losses": [
                    one if math.isfinite(one) else None for one in (losses / ranks).tolist()
                ],
                "digests": [one[0] for one in told],
                "own_images_per_second": [one[1] for one in told],
                "memory_mib": [one[2] for one in told],
            },
        )
    dist.barrier()
    dist.destroy_process_group()


def join(job: dict[str, Any]) -> Any:
    """Join the other ranks; return the device of this one."""
    import datetime

    import torch

    if job["device"] == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
    else:
        device = torch.device("cpu")
        torch.set_num_threads(job["threads"])
    torch.distributed.init_process_group(
        "nccl" if job["device"] == "cuda" else "gloo",
        timeout=datetime.timedelta(seconds=job["limit_s"]),
        device_id=device if job["device"] == "cuda" else None,
    )
    return device


@dataclass(kw_only=True)
class Pace:
    """Makes steps of training and measures them; `pause_s` is what a slow rank loses in each."""

    job: dict[str, Any]
    device: Any
    delayed: bool
    pause_s: float = 0.0
    losses: list[Any] = field(default_factory=list)
    data: Any = None
    labels: Any = None

    def make_data(self) -> None:
        """Make this rank's images: always the same, so that the loss can fall."""
        import torch

        shape = (self.job["batch"], 3, self.job["image"], self.job["image"])
        images = torch.randn(shape, device=self.device)
        self.data = images.to(memory_format=torch.channels_last)
        self.labels = torch.randint(0, 1000, shape[:1], device=self.device)

    def now(self) -> float:
        """Return the time once the device has done all that it was given."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def step(self, model: Any, optimizer: Any) -> None:
        """Make one step."""
        import torch

        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = torch.nn.functional.cross_entropy(model(self.data), self.labels)
        self.wait(started)
        loss.backward()
        optimizer.step()
        self.losses.append(loss.detach())

    def wait(self, started: float) -> None:
        """Let time go by: a pretended GPU's own, and what a slow rank loses."""
        time.sleep(self.pause_s)
        spent = time.perf_counter() - started - self.pause_s
        time.sleep(max(0.0, self.job["pretend_s"] - spent))

    def steps(self, model: Any, optimizer: Any, count: int) -> float:
        """Make steps; return the seconds that one took."""
        started = self.now()
        for _ in range(count):
            self.step(model, optimizer)
        return (self.now() - started) / count

    def measure_alone(self, network: Any) -> float:
        """Return the images a second of this rank for itself, while the others do the same.

        A slow GPU hides in a group, and a slow first GPU would flatter the group.
        """
        import torch

        still = torch.optim.SGD(network.parameters(), lr=0.0)
        self.steps(network, still, 1)
        if self.delayed:
            self.pause_s = self.job["pretend_s"] or self.steps(network, still, 2)
        torch.distributed.barrier()
        rate: float = self.job["batch"] / self.steps(network, still, self.job["alone"])
        self.losses.clear()
        return rate


def digest(network: Any) -> str:
    """Return a hash of all parameters, bit by bit."""
    found = hashlib.sha256()
    for name, one in sorted(network.named_parameters()):
        found.update(name.encode())
        found.update(one.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def make_resnet50(width: int) -> Any:
    """Build ResNet-50; a width of 64 is the real one. Stride in the 3x3, as torchvision has it."""
    import torch
    from torch import nn

    class Bottleneck(nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self, inside: int, middle: int, stride: int) -> None:
            super().__init__()
            out = 4 * middle
            self.main = nn.Sequential(
                nn.Conv2d(inside, middle, 1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(),
                nn.Conv2d(middle, middle, 3, stride, 1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(),
                nn.Conv2d(middle, out, 1, bias=False),
                nn.BatchNorm2d(out),
            )
            same = stride == 1 and inside == out
            self.side = (
                nn.Identity()
                if same
                else nn.Sequential(
                    nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out)
                )
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.main(x) + self.side(x))

    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    inside = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        middle = width << stage
        for block in range(blocks):
            layers.append(Bottleneck(inside, middle, 2 if stage and not block else 1))
            inside = 4 * middle
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 1000)]
    return nn.Sequential(*layers)


# -- what is judged


def judge_losses(report: Report, losses: list[float | None]) -> None:
    """Judge the losses, the mean of all ranks for each step."""
    finite = [one for one in losses if one is not None]
    whole = bool(losses) and len(finite) == len(losses)
    report.judge(
        whole,
        "loss finite",
        f"{len(finite)} of {len(losses)} steps" if not whole else f"all {len(losses)} steps",
    )
    edge = max(1, len(losses) // 4)
    if not whole or len(losses) < GROUP:
        report.judge(False, "loss falling", "there are not enough finite losses")
        return
    first, last = statistics.fmean(finite[:edge]), statistics.fmean(finite[-edge:])
    detail = f"{first:.3f} in the first {edge} steps, {last:.3f} in the last"
    report.judge(last < first, "loss falling", detail, (last, first, "nats"))


def judge_digests(report: Report, digests: list[str], ranks: int) -> None:
    """Judge whether all ranks ended with the same parameters."""
    others = [n for n, one in enumerate(digests) if one != digests[0]]
    if len(digests) != ranks or ranks < GROUP:
        report.judge(False, "parameters identical", f"{len(digests)} of {ranks} ranks told theirs")
    elif others:
        detail = f"ranks {others} differ from rank 0"
        report.judge(False, "parameters identical", detail)
    else:
        detail = f"{ranks} ranks, sha256 {digests[0][:12]}"
        report.judge(True, "parameters identical", detail)


def judge_logs(report: Report, log: str, backend: str) -> None:
    """Judge what the ranks wrote."""
    found = [line for line in log.splitlines() if FAULTS.search(line)]
    said = f"none in the ranks' logs ({backend})"
    report.judge(not found, "communication errors", f"{len(found)}: {found[0]}" if found else said)


def judge_scaling(report: Report, one: float, all_of_them: float, ranks: int) -> None:
    """Judge T_N / (N x T_1) at a fixed batch a GPU."""
    percent = 100 * all_of_them / (ranks * one)
    detail = (
        f"{percent:.0f} %: {all_of_them:.0f} images/s on {ranks}, {one:.0f} on one,"
        f" limit {SCALING_LIMIT:.0f} %"
    )
    report.judge(
        percent > SCALING_LIMIT, "scaling efficiency", detail, (percent, SCALING_LIMIT, "%")
    )


def judge_alike(report: Report, rates: list[float]) -> None:
    """Judge the slowest GPU against the fastest, each for itself."""
    slowest = min(range(len(rates)), key=rates.__getitem__)
    percent = 100 * rates[slowest] / max(rates)
    detail = (
        f"slowest is GPU {slowest}: {rates[slowest]:.0f} images/s alone, {percent:.0f} % of the"
        f" fastest, limit {ALIKE_LIMIT:.0f} %"
    )
    report.judge(percent >= ALIKE_LIMIT, "GPUs alike", detail, (percent, ALIKE_LIMIT, "%"))


def judge_utilisation(
    report: Report, taken: list[list[list[float | None]]], gpus: int, seconds: float
) -> None:
    """Judge the median of each GPU after the warm-up.

    Utilisation is the share of time in which ANY kernel ran, so throughput and power stand beside
    it in the figures.
    """
    name = "utilisation"
    if len(taken) < max(3.0, SAMPLE_RATE * seconds):
        detail = f"nvidia-smi gave {len(taken)} samples in {seconds:.0f} s, one a second are needed"
        report.judge(False, name, detail)
        return
    medians = []
    for gpu in range(gpus):
        values = [rows[gpu][0] for rows in taken if gpu < len(rows)]
        known = [value for value in values if value is not None]
        if len(known) < len(taken) / 2:
            detail = f"GPU {gpu} told its utilisation {len(known)} of {len(taken)} times"
            report.judge(False, name, detail)
            return
        medians.append(statistics.median(known))
    report.figures["utilisation_median_percent"] = medians
    told = ", ".join(f"GPU {gpu} {value:.0f} %" for gpu, value in enumerate(medians))
    worst = min(medians)
    report.judge(
        worst > UTILISATION_LIMIT,
        name,
        f"median {told}, limit {UTILISATION_LIMIT:.0f} %",
        (worst, UTILISATION_LIMIT, "%"),
    )


# -- the suite


def prove(report: Report, options: argparse.Namespace) -> None:
    """Find the devices, train twice, and judge."""
    if options.simulate_gpus and not ROOT:
        raise CannotRun("--simulate-gpus is for tests and needs CUBE_ROOT")
    python = find_python("pytorch", options.python)
    say("looking at torch")
    seen = run_worker(__file__, python, {"act": "probe"}, 300)
    if seen.code != 0 or "versions" not in seen.result:
        raise CannotRun(f"torch cannot be used with {python}: {seen.fault}")
    report.judge(True, "environment", f"torch {seen.result['versions']['torch']}")
    report.versions |= {name: text for name, text in seen.result["versions"].items() if text}
    gpus = options.simulate_gpus or len(seen.result["gpus"])
    judge_devices(report, gpus, seen.result["gpus"])
    kind = "pretended" if options.simulate_gpus else "gpu" if gpus else "cpu"
    report.evidence = (
        "simulated"
        if is_simulated() or options.slow_rank is not None
        else ("hardware" if kind == "gpu" else "cpu")
    )
    measure(report, options, python, kind, gpus or options.cpu_ranks)


def judge_devices(report: Report, gpus: int, names: list[str]) -> None:
    """Judge how many GPUs torch sees; one that is there and not seen is no reason to use none."""
    on_bus = count_gpus()
    expected = expected_gpus(on_bus)
    if gpus == on_bus == 0:
        report.skip("devices", DEFERRED.format("a list of devices"))
        return
    told = f": {', '.join(sorted(set(names)))}" if names else ""
    detail = f"torch sees {gpus}, expected {expected}, on the bus {on_bus}{told}"
    report.need(gpus == expected, "devices", detail)


def measure(
    report: Report, options: argparse.Namespace, python: str, kind: str, ranks: int
) -> None:
    """Train with one rank and with all, and judge both."""
    plan = PLANS[kind, options.quick]
    job = vars(plan) | {"act": "launch", "device": "cuda" if kind == "gpu" else "cpu"}
    job["slow_rank"] = options.slow_rank
    job["threads"] = max(1, (os.cpu_count() or 1) // ranks)  # of one rank, also where it is alone
    job |= {"batch": options.batch} if options.batch else {}
    job |= {"seconds": options.seconds} if options.seconds and kind == "gpu" else {}
    job |= {"limit_s": options.limit} if options.limit else {}
    sampler = Sampler()
    with sampler.running(kind != "cpu"):
        single = train_with(report, "single training", python, job | {"ranks": 1})
        group = train_with(report, "distributed training", python, job | {"ranks": ranks})
    report.figures |= make_figures(job, ranks, single.result, group.result)
    if kind != "cpu":
        report.figures |= sampler.series()
    judge_losses(report, group.result["losses"])
    judge_digests(report, group.result["digests"], ranks)
    judge_logs(report, single.log + group.log, "nccl" if kind == "gpu" else "gloo")
    judge_hardware(report, kind, ranks, sampler)


def judge_hardware(report: Report, kind: str, ranks: int, sampler: Sampler) -> None:
    """Judge what only GPUs can show."""
    figures = report.figures
    if kind == "cpu":
        report.skip("GPUs alike", DEFERRED.format("the speed of each GPU"))
        report.skip("scaling efficiency", DEFERRED.format("scaling"))
        report.skip("utilisation", DEFERRED.format("utilisation"))
        return
    judge_alike(report, figures["own_images_per_second"])
    one = figures["single_images_per_second"]
    if ranks == 1:
        report.skip("scaling efficiency", "there is one GPU: nothing to scale to")
    else:
        judge_scaling(report, one, figures["all_images_per_second"], ranks)
    start, end = figures["window_seconds"]
    judge_utilisation(report, sampler.between(start, end), ranks, end - start)


def train_with(report: Report, name: str, python: str, job: dict[str, Any]) -> Ended:
    """Train with so many ranks.

    Raises:
        Stop: the training failed.
    """
    say(f"{name}: {job['ranks']} ranks on {job['device']}, batch {job['batch']} each")
    ended = run_worker(
        __file__,
        python,
        job,
        job["limit_s"],
        NCCL_DEBUG="WARN",
        TORCH_NCCL_ASYNC_ERROR_HANDLING="1",
        OMP_NUM_THREADS="1",
        PYTHONUNBUFFERED="1",
    )
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
    report.need(good, name, detail)
    return ended


def make_figures(
    job: dict[str, Any], ranks: int, one: dict[str, Any], group: dict[str, Any]
) -> dict[str, Any]:
    """Put together what the report plots."""
    return {
        "ranks": ranks,
        "batch_per_rank": job["batch"],
        "image_pixels": job["image"],
        "precision": "bfloat16 autocast" if job["device"] == "cuda" else "float32",
        "parameters": group["parameters"],
        "throughput_images_per_second": {
            "one rank": one["images_per_second"],
            "all ranks": group["images_per_second"],
            "all ranks, if none lost": ranks * one["images_per_second"],
        },
        "single_images_per_second": one["images_per_second"],
        "all_images_per_second": group["images_per_second"],
        "scaling_percent": 100 * group["images_per_second"] / (ranks * one["images_per_second"]),
        "own_images_per_second": group["own_images_per_second"],
        "single_elapsed_seconds": one["elapsed_seconds"],
        "all_elapsed_seconds": group["elapsed_seconds"],
        "window_seconds": group["window"],
        "losses": group["losses"],
        "memory_allocated_mib": group["memory_mib"],
    }


def main() -> int:
    """Read the command line, and judge."""
    if WORKER in os.environ:
        job = json.loads(os.environ[WORKER])
        {"probe": probe, "launch": rank if "RANK" in os.environ else launch}[job["act"]](job)
        return 0
    parser = make_parser("Train a ResNet-50 on one GPU and on all of them, and compare.")
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
    report = Report(check="pytorch", names=NAMES, quiet=options.json)
    return conduct(report, lambda: prove(report, options))


if __name__ == "__main__":
    sys.exit(main())
