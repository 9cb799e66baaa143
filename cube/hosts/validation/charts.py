"""Plots of a suite's figures, as SVG that goes into a page.

A figure with several numbers is a plot: a list, or lists by name, are lines over time; numbers
by name are bars. Its key names it and ends with its unit: ``utilisation_percent``.
"""

import re
from typing import Any

from cube.hosts.validation import svg
from cube.hosts.validation.svg import Bar

#: Fewer points make no line.
FEWEST_POINTS = 2

#: Characters of a word that a table shows.
LONGEST_WORD = 80
#: How the keys of series end that only say when samples were taken.
TIMES = ("_at_seconds", "window_seconds")

#: The units that keys end with, as people write them.
UNITS = {
    "percent": "%",
    "celsius": "°C",
    "watts": "W",
    "mib": "MiB",
    "seconds": "s",
    "gigabytes_per_second": "GB/s",
    "images_per_second": "images/s",
    "tokens_per_second": "tokens/s",
}

Lines = dict[str, list[float | None]]
Bars = dict[str, float]


def plots(figures: dict[str, Any]) -> list[str]:
    """Return an SVG for each figure that is worth one, in order."""
    drawn = []
    for key, value in figures.items():
        if key.endswith(TIMES):
            continue
        title, unit = name_of(key)
        if lines := as_lines(value):
            drawn.append(svg.lines(title, unit, lines))
        elif bars := as_bars(value):
            drawn.append(
                svg.bars(title, unit, {name: Bar(value=one) for name, one in bars.items()})
            )
    return drawn


def scalars(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the figures that are one number or word each, with their units, for a table."""
    rows = []
    for key, value in figures.items():
        if isinstance(value, bool) or (isinstance(value, str) and len(value) > LONGEST_WORD):
            continue  # a log is in the JSON
        if isinstance(value, int | float | str):
            title, unit = name_of(key)
            shown = f"{value:,.4g}" if isinstance(value, float) else f"{value}"
            rows.append((title, f"{shown} {unit}".strip()))
    return rows


def name_of(key: str) -> tuple[str, str]:
    """Return title and unit that a key stands for."""
    for suffix, unit in UNITS.items():
        if key == suffix or key.endswith(f"_{suffix}"):
            rest = key.removesuffix(suffix).strip("_") or suffix
            return words(rest), unit
    return words(key), ""


def words(key: str) -> str:
    """Return a key as people write it."""
    return re.sub(r"_+", " ", key).strip().capitalize()


def as_lines(value: Any) -> Lines:  # noqa: ANN401 (whatever JSON can hold)
    """Return lists of numbers by name; empty when it is something else."""
    named = {"": value} if isinstance(value, list) else value
    if not isinstance(named, dict) or not named:
        return {}
    lists = all(isinstance(one, list) and len(one) >= FEWEST_POINTS for one in named.values())
    return named if lists and all(numbers(one) for one in named.values()) else {}


def as_bars(value: Any) -> Bars:  # noqa: ANN401 (as above)
    """Return numbers by name; empty when it is something else."""
    if isinstance(value, dict) and len(value) > 1 and numbers(list(value.values())):
        return {name: one or 0 for name, one in value.items()}
    return {}


def numbers(values: list[Any]) -> bool:
    """Tell whether all are numbers; a sample that was not to be had is None."""
    return all(one is None or type(one) in {int, float} for one in values)
