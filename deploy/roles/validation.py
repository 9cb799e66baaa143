"""Role validation: the box judges itself, at boot and every 15 minutes."""

import dataclasses
import json
from dataclasses import dataclass

from pyinfra.api import deploy

from deploy.operations.files import put_atomic
from deploy.operations.systemd import restart_if_older, units
from deploy.runner.data import read
from deploy.runner.sources import Programs, file_text

#: On a box the programs of all three lie side by side, so their names are unique.
ROOMS = (Programs("gpus"), Programs("health"), Programs("suites"))

LIBRARY = "/usr/local/lib/cube/health.sh"

#: The suites of workloads; docs/suites.md tells what each of them proves.
SUITES = (
    "test-pytorch-ddp.py",
    "test-tensorflow-gpu.py",
    "test-vllm-inference.py",
    "test-docker-gpu.sh",
)

#: The programs with their sources in `ROOMS`.
PROGRAMS = {
    **{
        f"/usr/local/bin/health-check-layer{n}.sh": f"health-check-layer{n}.sh" for n in range(1, 6)
    },
    "/usr/local/bin/validate-gpus.sh": "validate-gpus.sh",
    "/usr/local/bin/cube-health": "cube_health.py",
    **{f"/usr/local/bin/{name}": name for name in SUITES},
    "/usr/local/lib/cube/test_docker_gpu.py": "test_docker_gpu.py",
}

#: What the suites are made of; not to be run by themselves.
MODULES = {
    f"/usr/local/lib/cube/{name}.py": f"{name}.py"
    for name in (
        "gpu_burn", "gpu_device", "gpu_idle", "gpu_load", "gpu_machine", "gpu_pcie",
        "gpu_report", "gpu_system", "gpu_watch", "suite_process", "suite_report", "validate_gpus",
    )
}  # fmt: skip

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
    """Install the health checks and the timer that runs them."""
    put_atomic(
        name="Say what this machine is expected to carry",
        dest="/etc/cube/expectations.json",
        content=render_expectations(read(Validation)),
    )
    put_atomic(
        name="Install the library of the health checks",
        dest=LIBRARY,
        content=program_text("health.sh"),
    )
    for dest, source in MODULES.items():
        put_atomic(name=f"Install {dest}", dest=dest, content=program_text(source))
    for dest, source in PROGRAMS.items():
        put_atomic(
            name=f"Install {dest}",
            dest=dest,
            content=program_text(source),
            mode="755",
        )
    install_timer()


def program_text(name: str) -> str:
    """Return the source of a program or of one of its modules."""
    (room,) = [room for room in ROOMS if room.has(name)]
    return room.text(name)


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
