"""What is checked of Docker's engine: that it answers, and its nvidia runtime."""

import json
import shutil
from typing import Any

from guest.checking.program import ask
from guest.checking.state import ROOT, read_text
from guest.suites.docker.client import Docker
from guest.suites.report import CannotRun, NotRun, Report


def check_daemon(report: Report, docker: Docker) -> dict[str, Any]:
    """Check whether the engine answers; return what it says of itself.

    Raises:
        NotRun: there is no Docker on this box.
        CannotRun: we may not talk to it.
        Stop: it does not answer.
    """
    if not shutil.which("docker"):
        raise NotRun("there is no docker on this box: layer 1 installs it")
    answer = docker.ask("info", "--format", "{{json .}}")
    if "permission denied" in f"{answer.text}{answer.complaint}".lower():
        raise CannotRun("docker's socket is closed to this user: sudo, or the group docker")
    try:
        info: dict[str, Any] = json.loads(answer.text)
        version = str(info.get("ServerVersion") or "")
    except ValueError:
        info, version = {}, ""
    if not version:
        errors = "; ".join(info.get("ServerErrors") or [])
        report.require("daemon answers", good=False, detail=errors or answer.explain())
    report.versions["docker"] = version
    toolkit = ask("nvidia-ctk", "--version")
    if toolkit.code == 0 and toolkit.first:
        report.versions["nvidia-container-toolkit"] = toolkit.first.split()[-1]
    groups = f"cgroup {info.get('CgroupVersion')} by {info.get('CgroupDriver')}"
    report.record("daemon answers", good=True, detail=f"Docker {version}, {groups}")
    return info


def check_runtime(report: Report, docker: Docker, info: dict[str, Any], gpus: int) -> None:
    """Check whether Docker knows the nvidia runtime, and whether that runs a container."""
    names = ("nvidia runtime registered", "nvidia runtime runs")
    known = sorted(info.get("Runtimes") or {})
    if "nvidia" in known:
        report.record(names[0], good=True, detail=f"runtimes: {', '.join(known)}")
        how = ("--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=void")
        said = docker.run("echo", "it-runs", how=how)
        report.record(names[1], good=said.first == "it-runs", detail=said.summary)
    elif gpus or has_layer_3():
        hint = "nvidia-ctk runtime configure --runtime=docker, then restart Docker"
        report.record(names[0], good=False, detail=f"runtimes: {', '.join(known)}: {hint}")
        report.record(names[1], good=False, detail="it is not registered")
    else:
        for name in names:
            report.skip(name, "layer 3 is not on this box, which has no GPU")


def has_layer_3() -> bool:
    """Return whether layer 3 was applied."""
    try:
        return "3" in json.loads(read_text(ROOT / "var/lib/cube/layers.json"))["layers"]
    except (ValueError, KeyError, TypeError):
        return False
