"""A mistake in a TOML file in words: the file, the key, the value, what is allowed, an example."""

import datetime
import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cube.runtime.redact import masked_value


class NoPathError(ValueError):
    """A value is no path; whoever tells it adds an example of the key."""


Loc = tuple[int | str, ...]

#: What pydantic adds to a place for the name of a table.
NAME = "[key]"
#: Mistakes that no value explains; that of an unknown key may be anything, a password as well.
VALUELESS = {"missing", "extra_forbidden"}
#: Mistakes about a number: its type, and its limits.
NUMBERS = ("int_type", "greater_than_equal", "less_than_equal")
#: Of a text or a list so much is shown; of a number so many digits.
CHARACTERS, ITEMS, DIGITS = 80, 8, 20
#: Decimal digits of a bit.
DIGITS_A_BIT = 0.30103


def describe(path: Path, problem: ErrorDetails, model: type[BaseModel]) -> str:
    """Return ``file: key = value: what is wrong and what to write``."""
    loc = tuple(word for word in problem["loc"] if word != NAME)
    where = place(loc)
    text = remedy(problem, loc, model)
    value = problem.get("input")
    if not where:
        return f"{path}: {text}"
    if isinstance(value, dict) or problem["type"] in VALUELESS or NAME in problem["loc"]:
        return f"{path}: {where}: {text}"
    return f"{path}: {where} = {shown(value)}: {text}"


def place(loc: Loc) -> str:
    """Return a place as ``table.key[0]``."""
    words = [f"[{word}]" if isinstance(word, int) else f".{quote_key(word)}" for word in loc]
    return "".join(words).removeprefix(".")


def quote_key(text: str) -> str:
    """Quote a key that TOML wants in quotes. Source: TOML 1.0, "Keys"."""
    bare = text.isascii() and text.replace("_", "").replace("-", "").isalnum()
    return text if bare else json.dumps(shortened(text))


def shortened(text: str) -> str:
    """Return the beginning of a text that is too long for a line."""
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}..."


def shown(value: object) -> str:
    """Return a value as TOML writes it, on one line, without a login; a long one is cut off."""
    match value:
        case str():
            text = shortened(masked_value(value))
            return f"'{text}'" if text.isprintable() and "'" not in text else json.dumps(text)
        case bool():
            text = str(value).lower()
        case int():
            digits = int(value.bit_length() * DIGITS_A_BIT) + 1
            text = str(value) if digits < DIGITS else f"(a number of {digits} digits)"
        case list() | tuple():
            more = ", ..." if len(value) > ITEMS else ""
            text = f"[{', '.join(shown(item) for item in value[:ITEMS])}{more}]"
        case dict():
            text = "{...}" if value else "{}"
        case datetime.date() | datetime.time():
            text = value.isoformat()
        case _:
            text = shortened(str(value))
    return text


def remedy(problem: ErrorDetails, loc: Loc, model: type[BaseModel]) -> str:
    """Say what is wrong and what would be right."""
    field = field_at(model, loc)
    like = example(field, item=isinstance(loc[-1], int) if loc else False)
    if problem["type"] == "value_error":
        error = problem["ctx"]["error"]
        return f"{error}{like if isinstance(error, NoPathError) else ''}"
    told = {
        "extra_forbidden": f"unknown key{suggestion(model, loc)}",
        "missing": f"missing: it has no default, write it{like}",
        "literal_error": f"choose {problem.get('ctx', {}).get('expected')}",
        "model_type": f"write a table: [{place(loc)}]",
        "dict_type": f"write a table: [{place(loc)}]",
        "bool_type": "write true or false",
        "string_type": f"write text in quotes{like}",
        "tuple_type": f"write a list{like}",
        "too_short": f"it is empty: write at least one{like}",
        "string_too_short": f"it is too short: write more{like}",
        "greater_than": f"write a number above {problem.get('ctx', {}).get('gt')}{like}",
        **dict.fromkeys(NUMBERS, f"write a whole number{limits(field)}{like}"),
    }
    return told.get(problem["type"], f"{problem['msg']}{like}")


def example(field: FieldInfo | None, *, item: bool = False) -> str:
    """Return an example of a key: one that the model gives, else its default, else nothing.

    Args:
        field: the key.
        item: it is a list, and an example of an item is wanted.
    """
    if field is None:
        return ""
    values = [*(field.examples or []), field.default]
    wanted = next((one for one in values if isinstance(one, str | int | tuple) and one), None)
    if item and isinstance(wanted, tuple):
        wanted = wanted[0]
    return "" if wanted is None or isinstance(wanted, bool) else f", like {shown_example(wanted)}"


def shown_example(value: object) -> str:
    """Return a value as the shipped file would write it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(shown_example, value))}]"
    return json.dumps(value)


def limits(field: FieldInfo | None) -> str:
    """Say between which numbers a key may be."""
    rules = field.metadata if field else []
    low = next((rule.ge for rule in rules if hasattr(rule, "ge")), None)
    high = next((rule.le for rule in rules if hasattr(rule, "le")), None)
    return f" from {low} to {high}" if low is not None and high is not None else ""


def suggestion(model: type[BaseModel], loc: Loc) -> str:
    """Name the known key that looks most like an unknown one."""
    table = model
    for word in loc[:-1]:
        field = known_keys(table).get(str(word))
        table = next(tables_in(field.annotation), table) if field else table
    known = [key for key in known_keys(table) if key != "file"]
    near = difflib.get_close_matches(str(loc[-1])[:CHARACTERS], known, n=1)
    return f': did you mean "{near[0]}"?' if near else f": remove it (known: {', '.join(known)})"


def field_at(model: type[BaseModel], loc: Sequence[int | str]) -> FieldInfo | None:
    """Return the field of a place; that of a list for one of its items."""
    field: FieldInfo | None = None
    table: type[BaseModel] | None = model
    words = iter(loc)
    for word in words:
        if table and (found := known_keys(table).get(str(word))):
            field = found
            table = next(tables_in(field.annotation), None)
            if get_origin(field.annotation) is dict:
                next(words, None)  # the name of a table
    return field


def tables_in(kind: object) -> Iterator[type[BaseModel]]:
    """Yield the tables that a key's type holds, itself or below names."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from tables_in(part)


def known_keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the keys of a table."""
    return {(field.alias or name): field for name, field in model.model_fields.items()}
