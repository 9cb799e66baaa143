"""test-docker-gpu.sh: GPUs in Docker's containers on this box."""

import argparse

from guest.checking.program import ask
from guest.checking.state import ROOT
from guest.suites.command_line import conduct, make_parser, positive
from guest.suites.docker.client import WAYS, Docker, uuids
from guest.suites.docker.engine import check_daemon, check_runtime
from guest.suites.docker.image import choose_image
from guest.suites.docker.reload import check_reload
from guest.suites.docker.sharing import check_sharing, check_ways
from guest.suites.environment import evidence, gpus_on_bus
from guest.suites.report import Report

PROGRAM = "test-docker-gpu.sh"

NAMES = (
    "daemon answers", "image", "container runs", "nvidia runtime registered",
    "nvidia runtime runs", "GPUs by --gpus", "GPUs by CDI", "GPUs by the nvidia runtime",
    "GPUs shared", "container survives daemon-reload", "GPU container survives daemon-reload",
)  # fmt: skip
DEFERRED = "deferred: there is no NVIDIA GPU on this machine"
LIMIT_S = 60


def main() -> int:
    """Read the command line, and check."""
    parser = make_parser(PROGRAM, "Check GPUs in Docker's containers.")
    parser.add_argument(
        "--image", help="an image on this box; none: nvidia/cuda if there, or links"
    )
    parser.add_argument("--limit", type=positive, default=LIMIT_S, help="seconds for each command")
    options = parser.parse_args()
    report = Report(check="docker", names=NAMES, live=not options.json)
    return conduct(PROGRAM, report, lambda: prove(report, options))


def prove(report: Report, options: argparse.Namespace) -> None:
    """Check the engine, then containers with and without GPUs."""
    docker = Docker(limit_s=options.limit)
    gpus = gpus_on_bus()
    report.evidence = evidence(gpus)
    info = check_daemon(report, docker)
    try:
        choose_image(report, docker, options.image)
        said = docker.run("echo", "it-runs")
        report.require("container runs", good=said.first == "it-runs", detail=said.summary)
        check_runtime(report, docker, info, gpus)
        wanted = check_gpus(report, docker, gpus)
        check_reload(report, docker, wanted)
        if gpus and not wanted:
            name = "GPU container survives daemon-reload"
            report.record(name, good=False, detail="nvidia-smi lists no GPU")
    finally:
        docker.clean()


def check_gpus(report: Report, docker: Docker, gpus: int) -> list[str]:
    """Check what needs GPUs, or say that it waits for them; return the UUIDs of the box's."""
    if not gpus:
        for name in (*WAYS, "GPUs shared", "GPU container survives daemon-reload"):
            report.skip(name, DEFERRED)
        return []
    listed = ask("nvidia-smi", "-L")
    wanted = uuids(listed)
    report.figures["gpus"] = wanted
    check_ways(report, docker, wanted, listed.explain())
    check_sharing(report, docker, wanted, ROOT / "opt/cube/venvs/pytorch")
    return wanted
