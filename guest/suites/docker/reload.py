"""What is checked when systemd is reloaded under running containers.

Source: NVIDIA/nvidia-container-toolkit#48: with systemd cgroups they lose their GPUs.
"""

import os

from guest.checking.program import ask
from guest.checking.state import SIMULATED_ROOT
from guest.suites.docker.client import WAYS, Docker, uuids
from guest.suites.processes import say
from guest.suites.report import Report


def check_reload(report: Report, docker: Docker, wanted: list[str]) -> None:
    """Check whether containers keep running, and keep their GPUs, when systemd is reloaded."""
    plain, ours = "container survives daemon-reload", "GPU container survives daemon-reload"
    if os.geteuid() != 0 and not SIMULATED_ROOT:
        for name in (plain, ours):
            report.skip(name, "only root may reload systemd: sudo")
        return
    say("reloading systemd under running containers")
    ways: dict[str, list[str]] = {"plain": []}
    ways |= {name.removeprefix("GPUs by "): how for name, how in WAYS.items() if wanted}
    begun = {name: docker.start(*how)[0] for name, how in ways.items()}
    before = look_into(docker, begun, wanted)
    reloaded = ask("systemctl", "daemon-reload", limit_s=docker.limit_s)
    after = look_into(docker, begun, wanted)
    if reloaded.code != 0:
        before["plain"] = f"systemctl daemon-reload: {reloaded.explain()}"
    fault = before["plain"] or after["plain"]
    report.record(plain, good=not fault, detail=fault or "it runs on, and a command in it too")
    if wanted:
        check_gpu_reload(report, ours, before, after)


def look_into(docker: Docker, begun: dict[str, str], wanted: list[str]) -> dict[str, str]:
    """Return what is wrong with each container, by the way it got its GPUs."""
    return {
        way: lives(docker, container, [] if way == "plain" else wanted)
        for way, container in begun.items()
    }


def check_gpu_reload(
    report: Report, name: str, before: dict[str, str], after: dict[str, str]
) -> None:
    """Check the containers with GPUs. Source: NVIDIA/nvidia-container-toolkit#48."""
    gpu = [way for way in after if way != "plain"]
    lost = {way: before[way] or after[way] for way in gpu if before[way] or after[way]}
    told = "; ".join(f"{way}: {fault}" for way, fault in lost.items())
    if lost:
        detail = f"{told}: ask for them with --device nvidia.com/gpu=all (CDI)"
    else:
        detail = f"GPUs stay, asked for by {', '.join(gpu)}"
    report.record(name, good=not lost, detail=detail)


def lives(docker: Docker, container: str, wanted: list[str]) -> str:
    """Return what is wrong with a running container, if anything."""
    if not wanted:
        answer = docker.ask("exec", container, "echo", "alive")
        return "" if answer.first == "alive" else answer.explain()
    answer = docker.ask("exec", container, "nvidia-smi", "-L")
    return "" if uuids(answer) == wanted else f"lost its GPUs ({answer.explain()})"
