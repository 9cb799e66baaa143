"""Read cube.toml; report all of its mistakes at once, one line each."""

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cube.errors import SpecError
from cube.spec.model import Spec

#: What the file is called where nothing else is said.
DEFAULT_FILE = Path("cube.toml")


def load(path: Path = DEFAULT_FILE, *, os: str = "") -> Spec:
    """Read and check a specification.

    Args:
        path: the file.
        os: name of an image that stands in for `image.os`; empty leaves it.

    Raises:
        SpecError: the file cannot be read or has mistakes; all of them are in `details`.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise SpecError(
            f"{path}: cannot be read: {error.strerror}",
            hint="run this in the project's folder, or name the file with --spec",
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start})") from error
    return load_text(text, path, os=os)


def load_text(text: str, path: Path, *, os: str = "") -> Spec:
    """Check a specification given as text; `path` is named in errors and is the base of paths.

    Raises:
        SpecError: see `load`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: not valid TOML: {error}") from error
    if os and isinstance(data.setdefault("image", {}), dict):
        data["image"]["os"] = os
    data.setdefault("build", {})  # so that its default folder is beside the file
    if "file" in data:
        raise SpecError(f"{path}: file: unknown key", hint="remove it")
    try:
        return Spec.model_validate(
            {**frozen(data), "file": path.resolve()}, context={"folder": path.resolve().parent}
        )
    except ValidationError as error:
        lines = [describe(path, problem) for problem in error.errors()]
        raise spec_error(path, list(dict.fromkeys(lines))) from error


def frozen(value: Any) -> Any:  # noqa: ANN401 (whatever TOML can hold)
    """Return TOML data with tuples for lists, as the model holds them."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    return value


def spec_error(path: Path, lines: list[str]) -> SpecError:
    """One mistake is the message itself; several are listed below a count."""
    if len(lines) == 1:
        return SpecError(lines[0])
    return SpecError(f"{path}: {len(lines)} mistakes", details="\n".join(lines))


def describe(path: Path, problem: ErrorDetails) -> str:
    """Return ``file: key = value: what is wrong and what to write``."""
    words = [word for word in problem["loc"] if not _is_union_tag(word)]
    where = ".".join(quote_key(word) for word in words)
    value = problem.get("input")
    value = list(value) if isinstance(value, tuple) else value
    shown = "" if isinstance(value, dict) or problem["type"] == "missing" else f" = {value!r}"
    if not where:
        return f"{path}: {remedy(problem)}"
    if problem["type"] in {"model_type", "dict_type"}:
        return f"{path}: {where}{shown}: write a table: [{where}]"
    return f"{path}: {where}{shown}: {remedy(problem)}"


def _is_union_tag(word: int | str) -> bool:
    return isinstance(word, str) and word.startswith(("literal[", "tuple[", "function-"))


def quote_key(word: int | str) -> str:
    """Quote a key that TOML wants in quotes."""
    text = str(word)
    return f'"{text}"' if "." in text else text


def remedy(problem: ErrorDetails) -> str:
    """Say what is wrong and what would be right."""
    context: dict[str, Any] = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key{suggestion(problem['loc'])}"
        case "missing":
            return "missing: it has no default, write it"
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"choose {context['expected']}"
        case "string_pattern_mismatch":
            return f"does not match {context['pattern']}"
    text = problem["msg"].removeprefix("Input ")
    return text[0].lower() + text[1:]


def suggestion(loc: tuple[int | str, ...]) -> str:
    """Name the known key that looks most like an unknown one."""
    model: type[BaseModel] = Spec
    for word in loc[:-1]:
        model = table_in(known_keys(model).get(str(word))) or model
    known = [key for key in known_keys(model) if key != "file"]
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if near:
        return f': did you mean "{near[0]}"?'
    return f": remove it (known: {', '.join(known)})"


def table_in(kind: object) -> type[BaseModel] | None:
    """Return the table that a key's type holds, itself or below names; None if it holds none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next(filter(None, map(table_in, get_args(kind))), None)


def known_keys(model: type[BaseModel]) -> dict[str, Any]:
    """Return the keys of a table with their types."""
    return {(field.alias or name): field.annotation for name, field in model.model_fields.items()}
