"""Which file of a package a machine takes: the first that fits, as uv and pip choose.

Source: PyPA, "Platform compatibility tags" and "Dependency specifiers".
"""

from collections.abc import Iterable, Iterator, Mapping

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from cube.stack.lockfile import Entry

#: The oldest C library that wheels of today name, and the older names of four of them.
#: Source: PEP 600, "Legacy manylinux tags".
OLDEST_MINOR = 5
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}

#: Tags that a machine takes, the best first.
Ranks = Mapping[Tag, int]


def ranks(python: str, glibc: str, machine: str = "x86_64") -> Ranks:
    """Return the tags of a system.

    Args:
        python: its Python, such as "3.13".
        glibc: its C library, such as "2.41".
        machine: its processor.
    """
    version = tuple(map(int, python.split(".")[:2]))
    names = list(platforms(int(glibc.split(".")[1]), machine))
    tags = [
        *cpython_tags(version, platforms=names),
        *compatible_tags(version, f"cp{version[0]}{version[1]}", names),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def platforms(minor: int, machine: str) -> Iterator[str]:
    """Yield names of platforms, that of the newest C library first."""
    for old in range(minor, OLDEST_MINOR - 1, -1):
        yield f"manylinux_2_{old}_{machine}"
        if old in LEGACY:
            yield f"{LEGACY[old]}_{machine}"
    yield f"linux_{machine}"


def best(filenames: Iterable[str], order: Ranks) -> str:
    """Return the wheel that fits best; empty when none does."""
    found = ((rank(name, order), name) for name in filenames)
    fitting = sorted((place, name) for place, name in found if place is not None)
    return fitting[0][1] if fitting else ""


def rank(filename: str, order: Ranks) -> int | None:
    """Return the place of a wheel's best tag; None when it does not fit, or is no wheel."""
    try:
        tags = parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return None
    return min((order[tag] for tag in tags if tag in order), default=None)


def applies(entry: Entry, python: str, machine: str = "x86_64") -> bool:
    """Tell whether a package of a lock is for a system; what cannot be read is."""
    environment = {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.0",
        "extra": "",
    }
    try:
        return not entry.marker or Marker(entry.marker).evaluate(dict(environment))
    except (InvalidMarker, UndefinedEnvironmentName):
        return True
