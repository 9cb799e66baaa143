"""The values of cube.toml: how each is read, and what is wrong with one that is refused."""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

UNITS_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}


def parse_size_mib(value: object) -> int:
    """Turn "16 GiB" into 16384 (MiB).

    Raises:
        ValueError: it is not a whole number with a unit of MiB, GiB or TiB.
    """
    match = re.fullmatch(r"(\d+) ?(MiB|GiB|TiB)", value) if isinstance(value, str) else None
    if not match:
        raise ValueError('write a size as a number and MiB, GiB or TiB, like "16 GiB"')
    return int(match[1]) * UNITS_MIB[match[2]]


def between(low: str, high: str) -> Callable[[int], int]:
    """Return a rule for a size in MiB; both limits are written as in cube.toml."""

    def check(size_mib: int) -> int:
        if not parse_size_mib(low) <= size_mib <= parse_size_mib(high):
            raise ValueError(f'write a size from "{low}" to "{high}"')
        return size_mib

    return check


def check_timezone(value: str) -> str:
    """Accept a name of the tz database."""
    if value not in available_timezones():
        raise ValueError('write a tz name like "Europe/Berlin" (see: timedatectl list-timezones)')
    return value


def check_refresh(value: str) -> str:
    """Accept the greatest age of the package supply, or a pin."""
    if re.fullmatch(r"[1-9]\d* (hour|day|week)s?|never", value) or is_date(value):
        return value
    raise ValueError('write an age like "1 day", "6 hours", "2 weeks"; "never"; or a date to pin')


def is_date(value: str) -> bool:
    """Tell whether text is a day like 2026-11-23."""
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def resolve_path(value: object, info: ValidationInfo) -> object:
    """Make a path absolute: ~ is the user's home, and cube.toml's folder is the base."""
    if not isinstance(value, str):
        return value
    base = (info.context or {}).get("folder", Path.cwd())
    try:
        return (base / Path(value).expanduser()).resolve()
    except RuntimeError as error:
        raise ValueError("this account has no home folder: write the whole path") from error


def check_file(path: Path) -> Path:
    """Accept a file that can be read."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return path


def read_certificates(value: object, info: ValidationInfo) -> object:
    """Take a word, or files that can be read."""
    if value in ("host", "none"):
        return value
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        raise ValueError('write "host", "none" or a list of files')
    paths = (resolve_path(name, info) for name in value)
    return tuple(check_file(path) for path in paths if isinstance(path, Path))


#: Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; DSA is gone since OpenSSH 10.
KEY_TYPES = (
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+"
    r"|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)"
)
KEY_LINE = re.compile(KEY_TYPES + r" [A-Za-z0-9+/=]+( .*)?")


def read_ssh_key(value: object, info: ValidationInfo) -> str:
    """Turn a public key, or the path of a file that holds one, into the key's line."""
    if not isinstance(value, str):
        raise ValueError("write a public key or the path of its file, in quotes")
    if KEY_LINE.fullmatch(value.strip()):
        return value.strip()
    path = resolve_path(value, info)
    assert isinstance(path, Path)
    if not path.is_file():
        raise ValueError(
            f"there is no SSH key file {path}: make one with 'ssh-keygen -t ed25519',"
            " name another, or use [] for none"
        )
    line = check_file(path).read_text(errors="replace").strip()
    if "PRIVATE KEY" in line:
        raise ValueError(f"{path} is a private key: name the file that ends in .pub")
    if not KEY_LINE.fullmatch(line):
        raise ValueError(f"{path} does not hold one OpenSSH public key")
    return line


SizeMib = Annotated[int, BeforeValidator(parse_size_mib)]
Timezone = Annotated[str, AfterValidator(check_timezone)]
SshKey = Annotated[str, BeforeValidator(read_ssh_key)]
FilePath = Annotated[Path, BeforeValidator(resolve_path), AfterValidator(check_file)]
Certificates = Annotated[
    Literal["host", "none"] | tuple[Path, ...], BeforeValidator(read_certificates)
]
AnyPath = Annotated[Path, BeforeValidator(resolve_path)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Section(BaseModel):
    """A table of cube.toml: no unknown keys, no conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)
