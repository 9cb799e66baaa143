"""Role frameworks: PyTorch, TensorFlow, vLLM, each in a locked environment of its own."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError

from deploy.operations import uv, uv_beside
from deploy.operations.files import put_atomic
from deploy.runner.data import read
from deploy.runner.sources import file_text

CUBE = "/opt/cube"
VENVS = f"{CUBE}/venvs"
#: What layers 2 and 3 take meanwhile: the driver and CUDA 7 GiB, their packages 3.
RESERVE_MIB = 10 * 1024
LAUNCHER = "/usr/local/bin/cube-python"
#: Source: Jupyter, "Common directories and file locations", data, Linux.
KERNELS = "/usr/local/share/jupyter/kernels"


@dataclass(frozen=True, kw_only=True)
class Frameworks:
    """What the role reads; `framework_locks` are files of this machine, in the same order."""

    frameworks: tuple[str, ...]
    framework_locks: tuple[str, ...]
    frameworks_mib: int
    jupyter: bool
    pypi_index: str = ""
    proxy: str = ""


@deploy("Frameworks")
def ahead() -> None:
    """Begin to load the wheels: it needs nothing but layer 1."""
    begin(read(Frameworks), reserve_mib=RESERVE_MIB)


def begin(data: Frameworks, *, reserve_mib: int = 0) -> None:
    """Begin to load the wheels where there is room for them, and for so much more, in MiB."""
    uv_beside.load_ahead(
        name="Begin to load the frameworks",
        venvs={venv(name): text for name, text in read_locks(data).items()},
        folder=CUBE,
        mib=data.frameworks_mib + reserve_mib,
        index=data.pypi_index,
        proxy=data.proxy,
    )


@deploy("Frameworks")
def frameworks() -> None:
    """Make the environments, and the ways into them."""
    data = read(Frameworks)
    locks = read_locks(data)
    venvs = {venv(name): text for name, text in locks.items()}
    put_atomic(
        name="Install the launcher cube-python",
        dest=LAUNCHER,
        content=file_text("frameworks/cube-python"),
        mode="755",
    )
    uv.require_space(
        name="See that the disk has room for the frameworks",
        venvs=venvs,
        folder=CUBE,
        mib=data.frameworks_mib,
    )
    begin(data)  # the first environment is compiled while the wheels of the next one come
    for name, text in locks.items():
        uv.locked(
            name=f"Make the environment {name} as its lock says",
            path=venv(name),
            requirements=text,
            index=data.pypi_index,
            proxy=data.proxy,
        )
    uv.forget_downloads(name="Remove what was kept of the downloads", venvs=tuple(venvs))
    for name in locks if data.jupyter else ():
        put_atomic(
            name=f"Tell Jupyter of {name}",
            dest=f"{KERNELS}/{name}/kernel.json",
            content=render_kernel(name),
        )


def venv(name: str) -> str:
    """Return the folder of a framework's environment."""
    return f"{VENVS}/{name}"


def read_locks(data: Frameworks) -> Mapping[str, str]:
    """Read the lock of each framework.

    Raises:
        DeployError: one cannot be read, or is no lock.
    """
    pairs = zip(data.frameworks, data.framework_locks, strict=True)
    return {name: read_lock(name, Path(file), jupyter=data.jupyter) for name, file in pairs}


def read_lock(name: str, file: Path, *, jupyter: bool) -> str:
    """Read one lock.

    Raises:
        DeployError: it cannot be read, has no hashes, or lacks Jupyter's kernel.
    """
    refresh = "cube stack lock writes it anew"
    try:
        text = file.read_text()
    except OSError as error:
        raise DeployError(f"{name}: {file}: {error.strerror}: {refresh}") from error
    packages = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==", text, re.MULTILINE)
    if not packages or "--hash=" not in text:
        raise DeployError(f"{name}: {file} locks no package by its hash: {refresh}")
    if jupyter and "ipykernel" not in packages:
        raise DeployError(
            f"{name}: stack.jupyter is true, and {file} has no ipykernel: add it to the"
            f" requirements of {name} in profile.toml; {refresh}"
        )
    return text if text.endswith("\n") else f"{text}\n"


def render_kernel(name: str) -> str:
    """Return a kernel.json: the launcher gives a kernel what it gives a script.

    Source: jupyter_client, "Making kernels for Jupyter", "Kernel specs".
    """
    argv = [LAUNCHER, name, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": argv,
        "display_name": f"Cube {name}",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {"debugger": True},
    }
    return json.dumps(spec, indent=2) + "\n"
