"""Plots of a suite's figures, as SVG that goes into a page.

A figure with several numbers is a plot: a list, or lists by name, are lines over time; numbers
by name are bars. Its key names it and ends with its unit: ``utilisation_percent``.
"""

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

#: A colour that is read on white and on black.
INK = "#7d858e"
#: Width and height, in inches of 72 points: as wide as a phone shows without scrolling.
SIZE = (5.6, 2.4)
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

Lines = dict[str, list[float]]
Bars = dict[str, float]


def plots(figures: dict[str, Any]) -> list[str]:
    """Return an SVG for each figure that is worth one, in order."""
    drawn = []
    for key, value in figures.items():
        if key.endswith(TIMES):
            continue
        title, unit = name_of(key)
        if lines := as_lines(value):
            drawn.append(draw_lines(title, unit, lines))
        elif bars := as_bars(value):
            drawn.append(draw_bars(title, unit, bars))
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
    if all(isinstance(one, list) and len(one) >= FEWEST_POINTS and numbers(one)
           for one in named.values()):  # fmt: skip
        return named
    return {}


def as_bars(value: Any) -> Bars:  # noqa: ANN401 (as above)
    """Return numbers by name; empty when it is something else."""
    if isinstance(value, dict) and len(value) > 1 and numbers(list(value.values())):
        return value
    return {}


def numbers(values: list[Any]) -> bool:
    """Tell whether all are numbers; a sample that was not to be had is None."""
    return all(one is None or (isinstance(one, int | float) and not isinstance(one, bool))
               for one in values)  # fmt: skip


def draw_lines(title: str, unit: str, lines: Lines) -> str:
    """Return lines over the sample's number."""
    figure, axes = canvas(title, unit)
    for name, values in lines.items():
        axes.plot(values, label=name or title, linewidth=1.4)
    axes.set_xlabel("sample")
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, ncols=4)
    return render(figure)


def draw_bars(title: str, unit: str, bars: Bars) -> str:
    """Return a bar a name, its number beside it."""
    figure, axes = canvas(title, unit)
    drawn = axes.barh(list(bars), [value or 0 for value in bars.values()], height=0.6)
    axes.bar_label(drawn, fmt="%.4g", padding=3, color=INK, fontsize=8)
    axes.invert_yaxis()
    axes.set_ylabel("")
    axes.set_xlabel(unit)
    axes.margins(x=0.15)
    return render(figure)


def canvas(title: str, unit: str) -> tuple[Figure, Axes]:
    """Return an empty plot in our colours."""
    figure = Figure(figsize=SIZE, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_title(title, loc="left", color=INK, fontsize=10)
    axes.set_ylabel(unit, color=INK)
    axes.tick_params(colors=INK, labelsize=8)
    axes.xaxis.label.set_color(INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(INK)
    return figure, axes


def render(figure: Figure) -> str:
    """Return a plot as an ``<svg>`` element that is the same for the same numbers."""
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cube"}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return text.getvalue()[text.getvalue().index("<svg") :]
