"""Strict reading of TOML: what is unknown or missing is told with its file and key."""

import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from cube.errors import StackError

Version = Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")]


class Table(BaseModel):
    """A table of a file: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=Table)


def number(version: str) -> tuple[int, ...]:
    """Return a version's numbers, which compare as versions do."""
    return tuple(int(word) for word in version.split(".") if word.isdecimal())


def read_toml(file: Path, *, hint: str = "correct the file") -> dict[str, object]:
    """Read a file.

    Raises:
        StackError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise StackError(f"{file}: cannot be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise StackError(f"{file}: not valid TOML: {error}", hint="correct the file") from error


def frozen(value: object) -> object:
    """Return TOML data with tuples for lists, as the tables hold them."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value


def validate(model: type[Model], data: dict[str, object], file: Path) -> Model:
    """Read data into a model.

    Raises:
        StackError: every mistake, with file and key.
    """
    try:
        return model.model_validate({key: frozen(item) for key, item in data.items()})
    except ValidationError as error:
        lines = [f"{file}: {describe(problem)}" for problem in error.errors()]
        details = "\n".join(lines[1:])
        raise StackError(lines[0], hint="correct the file", details=details) from error


def describe(problem: ErrorDetails) -> str:
    """Return ``key: what is wrong``."""
    key = ".".join(f'"{word}"' if "." in str(word) else str(word) for word in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key: remove it"
        case "missing":
            return f"{key}: missing: it has no default, write it"
    return f"{key} = {problem['input']!r}: {problem['msg']}"
