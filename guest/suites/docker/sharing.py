"""What is checked of GPUs in containers: each way to ask for them, and two at the same time."""

import concurrent.futures
from pathlib import Path

from guest.suites.docker.client import WAYS, Docker, uuids
from guest.suites.processes import say
from guest.suites.report import Report

#: Calculates on every GPU that a container sees. The sum of 2^20 ones is exact in float32.
CALCULATE = (
    "import torch; n = torch.cuda.device_count();"
    " sums = [torch.ones(1 << 20, device=i).sum().item() for i in range(n)];"
    " print(n, sums.count(1 << 20))"
)


def check_ways(report: Report, docker: Docker, wanted: list[str], fault: str) -> None:
    """Check each way to give a container all GPUs of the box."""
    for name, how in WAYS.items():
        if not wanted:
            report.record(name, good=False, detail=f"nvidia-smi on the box itself: {fault}")
            continue
        say(name)
        answer = docker.run("nvidia-smi", "-L", how=tuple(how))
        found = uuids(answer)
        told = f"{len(found)} of {len(wanted)} GPUs in the container"
        detail = told if found or answer.code == 0 else answer.explain()
        report.record(name, good=found == wanted, detail=detail)


def check_sharing(report: Report, docker: Docker, wanted: list[str], venv: Path) -> None:
    """Check whether two containers use all GPUs at the same time."""
    name = "GPUs shared"
    if not wanted:
        report.record(name, good=False, detail="nvidia-smi on the box itself lists no GPU")
        return
    say(name)
    torch = docker.layer is not None and (venv / "bin/python").exists()
    lend = ["--volume", f"{venv}:{venv}:ro"] if torch else []
    pair = [docker.start(*WAYS["GPUs by --gpus"], *lend) for _ in range(2)]
    for container, answer in pair:
        if answer.code != 0:
            detail = f"{container} does not start: {answer.explain()}"
            report.record(name, good=False, detail=detail)
            return
    work = [f"{venv}/bin/python", "-c", CALCULATE] if torch else ["nvidia-smi", "-L"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: docker.ask("exec", one[0], *work), pair))
    count = len(wanted)
    good = [one.first == f"{count} {count}" if torch else uuids(one) == wanted for one in answers]
    bad = [one for one, right in zip(answers, good, strict=True) if not right]
    did = "calculated on" if torch else "listed"
    detail = f"two containers {did} all {count} GPUs at the same time"
    if bad:
        detail = f"{len(bad)} of 2 containers: {bad[0].summary}"
    report.record(name, good=not bad, detail=detail)
