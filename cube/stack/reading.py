"""Strict reading of TOML: what is unknown or missing is told with its file and key."""

import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cube.runtime import toml_file
from cube.runtime.errors import StackError
from cube.runtime.toml_errors import describe

VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}")


def check_version(value: str) -> str:
    """Accept numbers with dots.

    Raises:
        ValueError: it is something else.
    """
    if not VERSION.fullmatch(value):
        raise ValueError('write numbers with dots, like "13.0"')
    return value


Version = Annotated[str, AfterValidator(check_version), Field(examples=["13.0"])]


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
        return toml_file.read(file)
    except OSError as error:
        raise StackError(f"{file}: cannot be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise StackError(f"{file}: {error}", hint="correct the file") from error


def validate(model: type[Model], data: dict[str, object], file: Path) -> Model:
    """Read data into a model.

    Raises:
        StackError: every mistake, with file and key.
    """
    try:
        return model.model_validate({key: toml_file.frozen(item) for key, item in data.items()})
    except ValidationError as error:
        lines = [describe(file, problem, model) for problem in error.errors()]
        details = "\n".join(lines[1:])
        raise StackError(lines[0], hint="correct the file", details=details) from error
