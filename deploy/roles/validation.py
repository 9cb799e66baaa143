"""Role validation: the box checks itself, at boot and every 15 minutes."""

import dataclasses
import json
from dataclasses import dataclass

from pyinfra.api import deploy

from deploy.operations.files import put_atomic, put_each
from deploy.operations.systemd import restart_if_older, units
from deploy.runner.data import read
from deploy.runner.sources import ON_HOST, Programs, file_text

SUITE_PROGRAMS = Programs("suites")
#: The health checks and GPU detection: one package on a host, started by `LAUNCHER`.
PACKAGE = (
    Programs("__init__.py"),
    Programs("__main__.py"),
    Programs("checking"),
    Programs("health"),
    Programs("gpus"),
)

#: Starts a program of `PACKAGE` by its module, with arguments before those of the user.
LAUNCHER = f'#!/bin/sh\nexec /usr/bin/python3 -IB {ON_HOST} %s "$@"\n'

#: Programs in /usr/local/bin by what `LAUNCHER` starts.
LAUNCHERS = {
    **{f"health-check-layer{layer}.sh": f"health.layers {layer}" for layer in range(1, 6)},
    "validate-gpus.sh": "gpus.validate",
    "cube-health": "health.summary",
}

#: The suites of workloads; docs/validate.md tells what each of them proves.
SUITES = (
    "test-pytorch-ddp.py",
    "test-tensorflow-gpu.py",
    "test-vllm-inference.py",
    "test-docker-gpu.sh",
)

#: The suites with their sources in guest/suites.
PROGRAMS = {
    **{f"/usr/local/bin/{name}": name for name in SUITES},
    "/usr/local/lib/cube/test_docker_gpu.py": "test_docker_gpu.py",
}

#: What the suites are made of; not to be run by themselves.
MODULES = {
    f"/usr/local/lib/cube/{name}.py": f"{name}.py" for name in ("suite_process", "suite_report")
}

TIMER = "cube-health.timer"
UNIT_FILES = ("/etc/systemd/system/cube-health.service", f"/etc/systemd/system/{TIMER}")


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What the box must carry; `gpu_memory_mib` is the least of each GPU."""

    admin_user: str
    gpu_model: str
    gpu_count: int
    gpu_memory_mib: int


@deploy("Validation")
def validation() -> None:
    """Install the health checks, the suites and the timer of the health checks."""
    put_atomic(
        name="Say what this machine is expected to carry",
        dest="/etc/cube/expectations.json",
        content=render_expectations(read(Validation)),
    )
    put_each(
        name="Install the modules of the health checks and of GPU detection",
        files=package_files(),
    )
    put_each(
        name="Install the health checks and GPU detection",
        files={f"/usr/local/bin/{name}": LAUNCHER % words for name, words in LAUNCHERS.items()},
        mode="755",
    )
    for dest, source in MODULES.items():
        put_atomic(name=f"Install {dest}", dest=dest, content=SUITE_PROGRAMS.text(source))
    for dest, source in PROGRAMS.items():
        put_atomic(
            name=f"Install {dest}",
            dest=dest,
            content=SUITE_PROGRAMS.text(source),
            mode="755",
        )
    install_timer()


def package_files() -> dict[str, str]:
    """Return the modules of `PACKAGE` by their path on a host."""
    return {path: text for place in PACKAGE for path, text in place.modules().items()}


def install_timer() -> None:
    """Install the timer and its service, and start the timer."""
    for dest in UNIT_FILES:
        unit = dest.rpartition("/")[2]
        put_atomic(
            name=f"Install the unit {unit}", dest=dest, content=file_text(f"validation/{unit}")
        )
    units(names=TIMER, name="Run the health checks at boot and every 15 minutes", running=True)
    restart_if_older(unit=TIMER, than=UNIT_FILES, name="Let the timer read its changed units")


def render_expectations(data: Validation) -> str:
    """Return /etc/cube/expectations.json."""
    return json.dumps(dataclasses.asdict(data), indent=2) + "\n"
