"""A profile: versions of driver, CUDA and frameworks that were chosen to work together."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cube.errors import CubeError

SHIPPED = Path(__file__).parent / "profiles"
FILE = "profile.toml"

Version = Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")]


class Table(BaseModel):
    """A table of profile.toml: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
        CubeError: there is none, or it has mistakes.
    """
    folder = SHIPPED / name if "/" not in name else Path(name)
    file = folder / FILE
    try:
        data = tomllib.loads(file.read_text())
    except OSError as error:
        raise CubeError(
            f"{file}: cannot be read: {error.strerror}", hint=f"shipped are {', '.join(names())}"
        ) from error
    except ValueError as error:
        raise CubeError(f"{file}: not valid TOML: {error}", hint="correct the file") from error
    frameworks = data.get("frameworks")
    tables = frameworks.items() if isinstance(frameworks, dict) else ()
    data["frameworks"] = {
        key: {
            **table, "name": key, "requirements": tuple(table.get("requirements", ())),
        }
        for key, table in tables if isinstance(table, dict)
    }  # fmt: skip
    try:
        return Profile.model_validate({"name": folder.name, **data, "folder": folder})
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        ]
        raise CubeError(
            f"{file}: {lines[0]}", hint="correct the file", details="\n".join(lines[1:])
        ) from error
