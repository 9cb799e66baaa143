"""What each image knows: its time zones, its locales, its accounts and groups.

The lists in ``known/`` are those of the distribution's own packages; the head of each file names
them. What this machine knows says nothing about the image.
"""

import difflib
from functools import cache
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent / "known"
Kind = Literal["timezones", "locales", "accounts"]


@cache
def names(os: str, kind: Kind) -> frozenset[str]:
    """Return the names of a kind that an operating system's image has."""
    lines = (FOLDER / os / f"{kind}.txt").read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def near(word: str, known: frozenset[str], otherwise: str) -> str:
    """Return the name that looks most like a word, as an example of what may be written."""
    folded = {name.lower(): name for name in sorted(known)}
    found = difflib.get_close_matches(word[:64].lower(), folded, n=1, cutoff=0.75)
    return folded[found[0]] if found else otherwise
