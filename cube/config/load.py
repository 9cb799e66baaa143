"""Read cube.toml; report all of its mistakes at once, one line each."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cube.config.model import OS_NAMES, Image, Spec
from cube.runtime import redact, toml_file
from cube.runtime.errors import SpecError
from cube.runtime.toml_errors import describe

#: What the file is called where nothing else is said.
DEFAULT_FILE = Path("cube.toml")
#: So many mistakes are listed.
MISTAKES = 50


def load(path: Path = DEFAULT_FILE, *, os: str = "") -> Spec:
    """Read and check a specification.

    Args:
        path: the file.
        os: name of an image that stands in for `image.os`; empty leaves it.

    Raises:
        SpecError: the file cannot be read or has mistakes; all of them are in `details`.
    """
    try:
        data = toml_file.read(path)
    except OSError as error:
        raise SpecError(
            f"{path}: cannot be read: {error.strerror}",
            hint="run this in the project's folder, or name the file with --spec",
        ) from error
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error
    return check(data, path, os=os)


def load_text(text: str, path: Path, *, os: str = "") -> Spec:
    """Check a specification given as text; `path` is named in errors and is the base of paths.

    Raises:
        SpecError: see `load`.
    """
    try:
        data = toml_file.parse(text)
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error
    return check(data, path, os=os)


def check(data: dict[str, Any], path: Path, *, os: str = "") -> Spec:
    """Check what a specification holds.

    Raises:
        SpecError: see `load`.
    """
    redact.remember_all(data)
    if os and isinstance(data.setdefault("image", {}), dict):
        data["image"]["os"] = os
    data.setdefault("build", {})  # so that its default folder is beside the file
    if "file" in data:
        raise SpecError(f"{path}: file: unknown key: remove it")
    file = absolute(path)
    try:
        return Spec.model_validate(
            {**toml_file.frozen(data), "file": file},
            context={"folder": file.parent, "os": chosen_os(data)},
        )
    except ValidationError as error:
        lines = [describe(path, problem, Spec) for problem in error.errors()[: MISTAKES + 1]]
        raise spec_error(path, list(dict.fromkeys(lines)), error.error_count()) from None


def chosen_os(data: dict[str, Any]) -> str:
    """Return the image's operating system, which says what else may be written."""
    image = data.get("image", {})
    wanted = image.get("os") if isinstance(image, dict) else None
    return str(wanted) if wanted in OS_NAMES else Image().os


def absolute(path: Path) -> Path:
    """Return where a file really is.

    Raises:
        SpecError: a link leads to itself.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read: it is a link that leads nowhere") from error


def spec_error(path: Path, lines: list[str], count: int) -> SpecError:
    """One mistake is the message itself; several are listed below a count."""
    if len(lines) == 1:
        return SpecError(lines[0])
    if count > MISTAKES:
        lines = [*lines[:MISTAKES], f"{path}: and {count - MISTAKES} more"]
    else:
        count = len(lines)
    return SpecError(f"{path}: {count} mistakes", details="\n".join(lines))
