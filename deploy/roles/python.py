"""Role python: the distribution's Python with venv, pip and pipx, and uv."""

from dataclasses import dataclass

from deploy.operations import system, venv
from deploy.runner.data import read
from deploy.runner.role import Packages, role
from deploy.runner.sources import file_text

PACKAGES = ("pipx", "python3", "python3-dev", "python3-pip", "python3-venv")
TOOLS = "/opt/cube/tools"


@dataclass(frozen=True, kw_only=True)
class Python:
    """What the role reads."""

    pypi_index: str = ""
    proxy: str = ""


@role("Python")
def python() -> Packages:
    """Install Python's tools."""
    data = read(Python)
    yield PACKAGES
    venv.locked(
        name="Install uv, pinned and checked by hash",
        path=TOOLS,
        requirements=file_text("python/tools.txt"),
        index=data.pypi_index,
        proxy=data.proxy,
    )
    system.link(name="Put uv on the path", path="/usr/local/bin/uv", target=f"{TOOLS}/bin/uv")
    system.link(name="Put uvx on the path", path="/usr/local/bin/uvx", target=f"{TOOLS}/bin/uvx")
