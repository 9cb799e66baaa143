"""A profile: versions of driver, CUDA and frameworks that were chosen to work together."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cube.stack.reading import Table, Version, read_toml, validate

SHIPPED = Path(__file__).parent / "profiles"
FILE = "profile.toml"


class Framework(Table):
    """What goes into one virtual environment.

    Args:
        name: of the environment, "pytorch".
        version: of the package that it is made for.
        requirements: lines of a requirements file, which its lock answers.
        cuda: that its wheels were built for; empty for a processor's own build.
        disk_mib: what it takes on the disk, in MiB.
    """

    name: str
    version: Version
    requirements: Annotated[tuple[str, ...], Field(min_length=1)]
    cuda: Version | Literal[""] = ""
    disk_mib: Annotated[int, Field(gt=0)]


class Profile(Table):
    """Versions that were chosen to work together.

    Args:
        name: what `stack.profile` of cube.toml says.
        summary: one sentence.
        folder: holds profile.toml, and NAME.txt for the lock of each framework.
        driver: the least version.
        branch: of the driver, its first number.
        modules: flavour of the kernel modules.
        cuda: version of the toolkit.
        cudnn: major version.
        container_toolkit: version.
        frameworks: by name.
    """

    name: str
    summary: str
    folder: Path
    driver: Version
    branch: Version
    modules: Literal["open", "proprietary"]
    cuda: Version
    cudnn: Version
    container_toolkit: Version
    frameworks: Mapping[str, Framework] = {}

    def lock(self, framework: str) -> Path:
        """Return the file of a framework's lock."""
        return self.folder / f"{framework}.txt"


def names() -> list[str]:
    """Name the shipped profiles."""
    return sorted(file.parent.name for file in SHIPPED.glob(f"*/{FILE}"))


@cache
def load(name: str) -> Profile:
    """Read a profile.

    Args:
        name: of a shipped one, or the path of a folder.

    Raises:
        StackError: there is none, or it has mistakes.
    """
    folder = SHIPPED / name if "/" not in name else Path(name)
    file = folder / FILE
    data = read_toml(file, hint=f"shipped are {', '.join(names())}; else name a folder")
    tables = data.get("frameworks", {})
    if isinstance(tables, dict):
        named = {
            key: {**table, "name": key} if isinstance(table, dict) else table
            for key, table in tables.items()
        }
        data["frameworks"] = named
    return validate(Profile, {"name": folder.name, **data, "folder": folder}, file)
