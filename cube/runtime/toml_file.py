"""TOML that a person wrote: whatever is in the file, it is data or an error in plain words."""

import re
import tomllib
from pathlib import Path
from typing import Any

#: Larger than any that a person writes; reading takes time that grows with the square of a line.
FILE_BYTES, LINE_CHARACTERS = 256 * 1024, 8 * 1024
#: No key of ours is deeper than that of a list in a table in a table.
DEEPEST = 8
#: A key of so many parts takes longer to read than a person waits. Source: TOML 1.0, "Keys".
LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){40}""")
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
#: Source: TOML 1.0, "Comment": control characters other than tab are not permitted.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
TOO_DEEP = f"tables or lists in one another, more than {DEEPEST} deep: there is no such key"


def read(path: Path) -> dict[str, Any]:
    """Read a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no TOML, or nothing that a file of ours could be.
    """
    with path.open("rb") as file:
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise ValueError(f"larger than {FILE_BYTES // 1024} KiB: name another file")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    return parse(text)


def parse(text: str) -> dict[str, Any]:
    """Read TOML; a byte order mark at its beginning is left out.

    Raises:
        ValueError: it is none, or nothing that a file of ours could be; one line.
    """
    text = text.removeprefix(BOM)
    refuse_odd(text)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not valid TOML: {error}") from error
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except ValueError as error:
        raise ValueError("not valid TOML: a number or a date is out of range") from error
    if is_deep(data):
        raise ValueError(TOO_DEEP)
    return data


def refuse_odd(text: str) -> None:
    """Refuse what TOML does not permit anywhere, and what takes too long to read.

    Raises:
        ValueError: it is there; the line is told.
    """
    if found := CONTROL.search(text):
        raise ValueError(
            f"line {line_of(text, found)}: a control character (U+{ord(found[0]):04X}): remove it"
        )
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LINE_CHARACTERS:
            raise ValueError(f"line {number}: longer than {LINE_CHARACTERS} characters: break it")
    if found := LONG_KEY.search(text):
        raise ValueError(f"line {line_of(text, found)}: {TOO_DEEP}")


def line_of(text: str, found: re.Match[str]) -> int:
    """Return the number of a finding's line."""
    return text.count("\n", 0, found.start()) + 1


def is_deep(data: dict[str, Any]) -> bool:
    """Tell whether data are nested deeper than ours can be; they may be of any depth."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        held = [one.values() if isinstance(one, dict) else one for one in level]
        level = [item for items in held for item in items if isinstance(item, dict | list)]
    return bool(level)


def frozen(value: Any) -> Any:  # noqa: ANN401 (whatever TOML can hold)
    """Return TOML data with tuples for lists, as models hold them."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    return value
