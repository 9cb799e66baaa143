"""Layer 3: GPUs in containers."""

import json

from guest.checking.program import ask
from guest.checking.report import Report
from guest.checking.state import ROOT
from guest.health.box import check_program

TOOLKIT = "nvidia-container-toolkit-base"
REFRESH = "nvidia-cdi-refresh.service"


def check_gpu_runtime(report: Report) -> None:
    """Check NVIDIA's container toolkit and Docker's use of it."""
    check_program(report, "container toolkit", "nvidia-ctk", "--version")
    check_held(report)
    config = str(ROOT / "etc/docker/daemon.json")
    check_program(report, "docker's settings", "dockerd", "--validate", "--config-file", config)
    check_docker_runtime(report)
    check_cdi(report)


def check_held(report: Report) -> None:
    """Check that no upgrade moves the toolkit away from the version that was tested."""
    held = ask("apt-mark", "showhold").text.split()
    told = f"apt-mark hold nvidia-container-toolkit {TOOLKIT}"
    report.check_that("toolkit is held", TOOLKIT in held, "no upgrade moves it", told)


def check_docker_runtime(report: Report) -> None:
    """Check that Docker knows the runtime nvidia."""
    name = "docker knows the GPU runtime"
    answer = ask("docker", "info", "--format", "{{json .Runtimes}}")
    try:
        known = answer.code == 0 and "nvidia" in json.loads(answer.text)
    except ValueError:
        known = False
    missing = "no runtime nvidia: nvidia-ctk runtime configure --runtime=docker"
    report.check_that(name, known, "nvidia", missing if answer.code == 0 else answer.explain())


def check_cdi(report: Report) -> None:
    """Check that the unit that describes GPUs to containers has not failed.

    Without a GPU there is nothing to describe: the unit is skipped, and has not failed.
    """
    state = ask("systemctl", "is-failed", REFRESH).first
    report.check_that(
        "GPUs are described to containers",
        state != "failed",
        f"{REFRESH}: {state or 'unknown'}",
        f"{REFRESH} failed: journalctl -u {REFRESH}",
    )


ROLES = {"gpu_runtime": check_gpu_runtime}
