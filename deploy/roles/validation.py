"""Role validation: the box checks itself, at boot and every 15 minutes."""

import dataclasses
import json
from dataclasses import dataclass

from pyinfra.api import deploy

from deploy.operations.files import put_atomic
from deploy.operations.programs import install_programs
from deploy.operations.systemd import restart_if_older, units
from deploy.runner.data import read
from deploy.runner.sources import Programs, file_text

#: The health checks and the suites of workloads; docs/validate.md tells what each suite proves.
PLACES = (Programs("health"), Programs("suites"))

#: Programs in /usr/local/bin by the module that each starts.
PROGRAMS = {
    **{f"health-check-layer{layer}.sh": f"health.layers {layer}" for layer in range(1, 6)},
    "validate-gpus.sh": "gpus.validate",
    "cube-health": "health.summary",
    "test-pytorch-ddp.py": "suites.pytorch.program",
    "test-tensorflow-gpu.py": "suites.tensorflow.program",
    "test-vllm-inference.py": "suites.vllm.program",
    "test-docker-gpu.sh": "suites.docker.program",
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
    install_programs(title="the health checks and the suites", places=PLACES, starts=PROGRAMS)
    install_timer()


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
