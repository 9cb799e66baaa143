"""Role python: the distribution's Python with venv, pip and pipx, and uv."""

from dataclasses import dataclass

from pyinfra.operations import files

from deploy.operations import venv
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
    for tool in ("uv", "uvx"):
        files.link(
            name=f"Put {tool} on the path",
            path=f"/usr/local/bin/{tool}",
            target=f"{TOOLS}/bin/{tool}",
            create_remote_dir=False,
            force=True,
            force_backup=False,
        )
