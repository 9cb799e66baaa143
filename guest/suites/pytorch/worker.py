"""What runs in PyTorch's environment: a first look, torchrun, and the ranks that it starts."""

import os
import runpy
import sys

from guest.checking.report import one_line
from guest.suites.processes import GUEST
from guest.suites.pytorch.training import train
from guest.suites.work import Job, do_job, explain, hand_back, python_version

MODULE = "suites.pytorch.worker"


def main() -> int:
    """Do a job; torchrun starts this module again for each rank."""
    act = rank if "RANK" in os.environ else launch
    return do_job({"probe": probe, "launch": act}, explain_error)


def launch(job: Job) -> None:
    """Become torchrun, which starts this file once for each rank."""
    ranks = f"--nproc-per-node={job['ranks']}"
    sys.argv = ["torchrun", "--standalone", ranks, GUEST, MODULE]
    runpy.run_module("torch.distributed.run", run_name="__main__")


def probe(job: Job) -> None:
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
                "python": python_version(),
                "cuda": torch.version.cuda or "",
                "nccl": nccl,
                "cudnn": str(torch.backends.cudnn.version() or "") if cuda else "",
            },
            "gpus": gpus,
        },
    )


def rank(job: Job) -> None:
    """Train as one of the ranks; the first one tells what all did."""
    train(job, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def explain_error(error: Exception, job: Job) -> str:
    """Say in one line what went wrong, and on which rank."""
    import torch

    where = f"rank {os.environ['RANK']}: " if "RANK" in os.environ else ""
    if isinstance(error, torch.OutOfMemoryError):
        wanted = one_line(str(error).split(". ")[0])
        advice = f"batch {job['batch']} is too large, or another program holds the memory"
        return f"{where}out of memory: {wanted}: {advice}"
    return f"{where}{explain(error, job)}"
