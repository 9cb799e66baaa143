"""Typed data: what a role reads from `host.data` is checked once, in a frozen dataclass."""

import dataclasses
import typing
from typing import Any, TypeVar

from pyinfra import host
from pyinfra.api.exceptions import DeployError

T = TypeVar("T")


def read(cls: type[T]) -> T:
    """Build a role's dataclass from the data of the current host.

    Args:
        cls: a frozen dataclass whose fields are `str`, `int`, `bool` or `tuple[str, ...]`,
            named like the keys of `host.data`.

    Raises:
        DeployError: a key is missing or has another type.
    """
    return build(cls, host.data.dict())


def build(cls: type[T], data: dict[str, Any]) -> T:
    """Build the dataclass from plain data; see `read`."""
    hints = typing.get_type_hints(cls)
    assert dataclasses.is_dataclass(cls)
    values = {
        field.name: convert(field.name, hints[field.name], data[field.name])
        for field in dataclasses.fields(cls)
        if field.name in data or required(field)
    }
    return typing.cast(T, cls(**values))


def required(field: "dataclasses.Field[Any]") -> bool:
    """Raise when a key without a default is missing."""
    if field.default is dataclasses.MISSING:
        raise DeployError(
            f"host.data has no {field.name}: run with inventory.py, or add"
            f" --data {field.name}=VALUE"
        )
    return False


def convert(key: str, hint: object, value: object) -> object:
    """Return the value in the field's type; a list becomes a tuple.

    `--data` on the command line turns text into numbers where it can, so a number is
    accepted where a string is wanted.
    """
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if hint is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise DeployError(f"host.data.{key} = {value!r}: expected {getattr(hint, '__name__', hint)}")
