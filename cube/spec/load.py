"""Read cube.toml; report all of its mistakes at once, one line each."""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cube import logins
from cube.errors import SpecError
from cube.spec.mistakes import describe
from cube.spec.model import OS_NAMES, Image, Spec

#: What the file is called where nothing else is said.
DEFAULT_FILE = Path("cube.toml")
#: Larger than any that a person writes; reading takes time that grows with the square of a line.
FILE_BYTES, LINE_CHARACTERS = 256 * 1024, 8 * 1024
#: No key of cube.toml is deeper than that of a list in a table in a table.
DEEPEST = 8
#: So many mistakes are listed.
MISTAKES = 50
#: A key of so many parts takes longer to read than a person waits. Source: TOML 1.0, "Keys".
LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){40}""")
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
#: Source: TOML 1.0, "Comment": control characters other than tab are not permitted.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")


def load(path: Path = DEFAULT_FILE, *, os: str = "") -> Spec:
    """Read and check a specification.

    Args:
        path: the file.
        os: name of an image that stands in for `image.os`; empty leaves it.

    Raises:
        SpecError: the file cannot be read or has mistakes; all of them are in `details`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file has such a name"
        raise SpecError(
            f"{path}: cannot be read: {reason}",
            hint="run this in the project's folder, or name the file with --spec",
        ) from error
    if len(data) > FILE_BYTES:
        raise SpecError(f"{path}: larger than {FILE_BYTES // 1024} KiB: name a cube.toml")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: not UTF-8 text (byte {error.start})", hint="save the file as UTF-8"
        ) from error
    return load_text(text, path, os=os)


def load_text(text: str, path: Path, *, os: str = "") -> Spec:
    """Check a specification given as text; `path` is named in errors and is the base of paths.

    Raises:
        SpecError: see `load`.
    """
    data = parse(text, path)
    logins.remember_all(data)
    if os and isinstance(data.setdefault("image", {}), dict):
        data["image"]["os"] = os
    data.setdefault("build", {})  # so that its default folder is beside the file
    if "file" in data:
        raise SpecError(f"{path}: file: unknown key: remove it")
    file = absolute(path)
    try:
        return Spec.model_validate(
            {**frozen(data), "file": file},
            context={"folder": file.parent, "os": chosen_os(data)},
        )
    except ValidationError as error:
        lines = [describe(path, problem, Spec) for problem in error.errors()[: MISTAKES + 1]]
        raise spec_error(path, list(dict.fromkeys(lines)), error.error_count()) from None


def parse(text: str, path: Path) -> dict[str, Any]:
    """Read TOML.

    Raises:
        SpecError: it is none, or nothing that cube.toml could be.
    """
    text = text.removeprefix(BOM)
    if found := CONTROL.search(text):
        raise SpecError(
            f"{path}: line {line_of(text, found)}: a control character"
            f" (U+{ord(found[0]):04X}): remove it"
        )
    long = next((at for at, row in enumerate(text.split("\n"), 1) if len(row) > LINE_CHARACTERS), 0)
    if long:
        raise SpecError(f"{path}: line {long}: longer than {LINE_CHARACTERS} characters: break it")
    if found := LONG_KEY.search(text):
        raise SpecError(f"{path}: line {line_of(text, found)}: {TOO_DEEP}")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: not valid TOML: {error}") from error
    except RecursionError:
        raise SpecError(f"{path}: {TOO_DEEP}") from None
    except ValueError as error:
        raise SpecError(f"{path}: not valid TOML: a number or a date is out of range") from error
    if is_deep(data):
        raise SpecError(f"{path}: {TOO_DEEP}")
    return data


TOO_DEEP = f"tables or lists in one another, more than {DEEPEST} deep: cube.toml has no such key"


def line_of(text: str, found: re.Match[str]) -> int:
    """Return the number of a finding's line."""
    return text.count("\n", 0, found.start()) + 1


def is_deep(data: dict[str, Any]) -> bool:
    """Tell whether data are nested deeper than a cube.toml can be; they may be of any depth."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        held = [one.values() if isinstance(one, dict) else one for one in level]
        level = [item for items in held for item in items if isinstance(item, dict | list)]
    return bool(level)


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


def frozen(value: Any) -> Any:  # noqa: ANN401 (whatever TOML can hold)
    """Return TOML data with tuples for lists, as the model holds them."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    return value


def spec_error(path: Path, lines: list[str], count: int) -> SpecError:
    """One mistake is the message itself; several are listed below a count."""
    if len(lines) == 1:
        return SpecError(lines[0])
    if count > MISTAKES:
        lines = [*lines[:MISTAKES], f"{path}: and {count - MISTAKES} more"]
    else:
        count = len(lines)
    return SpecError(f"{path}: {count} mistakes", details="\n".join(lines))
