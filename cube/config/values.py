"""The values of cube.toml: how each is read, and what is wrong with one that is refused."""

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from cube.config import known
from cube.config.accounts import image_os

UNITS_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
SIZE = re.compile(r"([0-9]{1,12}) ?(MiB|GiB|TiB)")
#: Source: Semantic Versioning 2.0.0, 2, 9 and 10; each part of a length that a file name bears.
NUMBERS = r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}"
LABELS = r"[0-9A-Za-z-]{1,32}(\.[0-9A-Za-z-]{1,32}){0,3}"
VERSION = re.compile(rf"{NUMBERS}(-{LABELS})?(\+{LABELS})?")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
AGE = re.compile(r"[1-9][0-9]{0,5} (hour|day|week)s?")


def parse_size_mib(value: object) -> int:
    """Turn "16 GiB" into 16384 (MiB).

    Raises:
        ValueError: it is not a whole number with a unit of MiB, GiB or TiB.
    """
    match = SIZE.fullmatch(value) if isinstance(value, str) else None
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


def check_timezone(value: str, info: ValidationInfo) -> str:
    """Accept a time zone that the image knows.

    Raises:
        ValueError: it does not.
    """
    os = image_os(info)
    zones = known.names(os, "timezones")
    if value not in zones:
        like = NEW_NAMES.get(value) or known.near(value, zones, "Europe/Berlin")
        raise ValueError(
            f'{os} has no such time zone (old names are in tzdata-legacy): write one like "{like}"'
        )
    return value


#: The zones of the names that people still use most. Source: tz database, backward.
NEW_NAMES = {
    "US/Eastern": "America/New_York",
    "US/Central": "America/Chicago",
    "US/Mountain": "America/Denver",
    "US/Pacific": "America/Los_Angeles",
    "Asia/Calcutta": "Asia/Kolkata",
    "Asia/Saigon": "Asia/Ho_Chi_Minh",
    "PRC": "Asia/Shanghai",
    "Japan": "Asia/Tokyo",
    "GB": "Europe/London",
    "Singapore": "Asia/Singapore",
    "Zulu": "Etc/UTC",
    "UCT": "Etc/UTC",
    "Universal": "Etc/UTC",
    "localtime": "Europe/Berlin",
    "Poland": "Europe/Warsaw",
    "Turkey": "Europe/Istanbul",
    "CET": "Europe/Brussels",
    "EST": "America/Panama",
    "MST": "America/Phoenix",
    "HST": "Pacific/Honolulu",
}


def check_locale(value: str, info: ValidationInfo) -> str:
    """Accept a locale that the image can generate.

    Raises:
        ValueError: it cannot.
    """
    os = image_os(info)
    locales = known.names(os, "locales")
    if value not in locales:
        countries = frozenset(name.removesuffix(".UTF-8") for name in locales)
        like = known.near(value.split(".", maxsplit=1)[0], countries, "en_US") + ".UTF-8"
        raise ValueError(f'{os} has no such locale: write LANGUAGE_COUNTRY.UTF-8, like "{like}"')
    return value


def check_version(value: str) -> str:
    """Accept a version of three numbers, perhaps with a label.

    Raises:
        ValueError: it is none.
    """
    if not VERSION.fullmatch(value):
        raise ValueError('write three numbers with dots, like "0.1.0" or "1.2.0-rc.1"')
    return value


def check_name(value: str) -> str:
    """Accept a name that a file may have everywhere.

    Raises:
        ValueError: it is none.
    """
    if not NAME.fullmatch(value):
        raise ValueError(
            "write small letters, digits, ., _ and -, 64 at most, a letter or digit first,"
            ' like "vault-cube"'
        )
    return value


def check_refresh(value: str) -> str:
    """Accept the greatest age of the package supply, or a pin.

    Raises:
        ValueError: it is neither.
    """
    if AGE.fullmatch(value) or value == "never" or is_date(value):
        return value
    raise ValueError('write an age like "1 day", "6 hours", "2 weeks"; "never"; or a date to pin')


def is_date(value: str) -> bool:
    """Tell whether text is a day like 2026-11-23."""
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


SizeMib = Annotated[int, BeforeValidator(parse_size_mib)]
Timezone = Annotated[str, AfterValidator(check_timezone)]
Locale = Annotated[str, AfterValidator(check_locale)]
Version = Annotated[str, AfterValidator(check_version)]
Name = Annotated[str, AfterValidator(check_name)]


class Section(BaseModel):
    """A table of cube.toml: no unknown keys, no conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)
