"""Characters that a terminal can show, and how values are written with them."""

import math
import os
from dataclasses import dataclass

from rich import box
from rich.console import Console, OverflowMethod

#: Percent from which a load is drawn in yellow, and in red.
BUSY, FULL = 70, 90
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
UNITS_WHOLE_FROM = 100


@dataclass(frozen=True, kw_only=True)
class Glyphs:
    """Characters that the terminal can show."""

    full: str
    empty: str
    levels: str
    dot: str
    ring: str
    down: str
    up: str
    dash: str
    degree: str
    box: box.Box
    overflow: OverflowMethod = "ellipsis"


RICH = Glyphs(
    full="━", empty="─", levels="▁▂▃▄▅▆▇█", dot="●", ring="○", down="↓", up="↑", dash="·",
    degree="°C", box=box.ROUNDED,
)  # fmt: skip
#: The text console's font has few signs. Source: setfont(8) with Lat15-Fixed16.
CONSOLE = Glyphs(
    full="█", empty="░", levels="░▒▓█", dot="*", ring="-", down="in", up="out", dash="-",
    degree="°C", box=box.SQUARE,
)  # fmt: skip
ASCII = Glyphs(
    full="#", empty=".", levels=".:-=+*#", dot="*", ring="-", down="in", up="out", dash="-",
    degree="C", box=box.ASCII, overflow="crop",
)  # fmt: skip


def choose_glyphs(console: Console) -> Glyphs:
    """Return the richest characters that this terminal shows."""
    term = os.environ.get("TERM", "")
    if not console.encoding.lower().startswith("utf") or term in {"dumb", "unknown"}:
        return ASCII
    return CONSOLE if term == "linux" else RICH


def heat(percent: float) -> str:
    """Return the colour of a load."""
    return "red" if percent >= FULL else "yellow" if percent >= BUSY else "green"


def bytes_text(value: float) -> str:
    """Return a size in binary units, three digits."""
    steps = min(int(math.log(max(value, 1) * 1024 / 1000, 1024)), len(UNITS) - 1)
    scaled = value / 1024**steps
    digits = 1 if steps and scaled < UNITS_WHOLE_FROM else 0
    return f"{scaled:.{digits}f} {UNITS[steps]}"


def pair_text(used: float, total: float) -> str:
    """Return ``3.2/62 GiB``: both in the unit of the second."""
    text = bytes_text(total)
    amount, unit = text.split()
    scale = total / float(amount) if float(amount) else 1
    return f"{used / scale:.1f}/{amount} {unit}"


def age_text(seconds: float) -> str:
    """Return a duration in its two largest units."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def known(value: float | None, unit: str = "") -> str:
    """Return a whole number with its unit, or a question mark."""
    return "?" if value is None else f"{value:.0f}{unit}"
