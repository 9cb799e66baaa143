"""A training as one rank of a group, and how fast it goes. It runs in PyTorch's environment."""

import hashlib
import math
import os
import time
from dataclasses import dataclass, field
from typing import Any

from guest.suites.processes import say
from guest.suites.pytorch.resnet50 import make_resnet50
from guest.suites.work import hand_back


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
