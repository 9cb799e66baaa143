"""What Ubuntu 24.04's installer knows by name; each file says where its names come from."""

import functools
from pathlib import Path

FOLDER = Path(__file__).parent


def lines(name: str) -> list[str]:
    """Return the lines of a file, without comments; an indented line continues the one above."""
    text = (FOLDER / name).read_text(encoding="ascii").replace("\n ", " ")
    return [line for line in text.splitlines() if not line.startswith("#")]


@functools.cache
def reserved_names() -> frozenset[str]:
    """Return the account names that the installer refuses."""
    return frozenset(" ".join(lines("reserved-usernames.txt")).split())


@functools.cache
def keyboards() -> dict[str, frozenset[str]]:
    """Return each keyboard layout with its variants; a layout without one has the variant ''."""
    parts = (line.partition(":") for line in lines("keyboards.txt"))
    return {layout: frozenset(["", *variants.split()]) for layout, _, variants in parts}
