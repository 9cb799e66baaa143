"""Role monitoring: what a person at the box looks at."""

import json
from dataclasses import dataclass

from pyinfra.api import deploy

from deploy.operations.apt import install
from deploy.operations.files import put_atomic
from deploy.operations.programs import install_programs
from deploy.runner.data import read
from deploy.runner.sources import Programs, file_text

DASHBOARD = Programs("cube_top")
#: Programs in /usr/local/bin by the module that each starts.
PROGRAMS = {"cube-top": "cube_top.program"}
#: From Debian's main, and Ubuntu's main and universe; nvtop is in Ubuntu's multiverse.
#: Source: packages.ubuntu.com, noble, nvtop 3.0.2-1.
PACKAGES = (
    "htop",
    "lm-sensors",
    "nvtop",
    "python3-psutil",
    "python3-rich",
    "smartmontools",
)


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """The image that this box was made from."""

    image_name: str
    image_version: str


@deploy("Monitoring")
def monitoring() -> None:
    """Install the tools, the dashboard and the login line."""
    data = read(Monitoring)
    install(name="Install the monitoring tools", packages=PACKAGES)
    put_atomic(
        name="Say which image this is",
        dest="/etc/cube/release.json",
        content=render_release(data),
    )
    install_programs(title="the dashboard cube-top", places=(DASHBOARD,), starts=PROGRAMS)
    put_atomic(
        name="Greet with image, layers and health at login",
        dest="/etc/update-motd.d/60-cube",
        content=file_text("monitoring/60-cube"),
        mode="755",
    )


def render_release(data: Monitoring) -> str:
    """Return /etc/cube/release.json."""
    return json.dumps({"name": data.image_name, "version": data.image_version}, indent=2) + "\n"
