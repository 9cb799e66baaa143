"""Lists on the command line: words or numbers with commas."""

import argparse
from collections.abc import Callable, Collection


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return what reads some names of a list, in its order."""

    def read(text: str) -> list[str]:
        if unknown := {*text.split(",")} - {*known}:
            raise argparse.ArgumentTypeError(f"{min(unknown)!r} is none of {', '.join(known)}")
        return [name for name in known if name in text.split(",")]

    return read


def numbers(text: str) -> list[int]:
    """Read whole numbers, sorted."""
    return sorted({int(word) for word in text.split(",")})
