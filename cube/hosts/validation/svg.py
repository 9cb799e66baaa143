"""Plots as plain SVG text: lines over samples, and horizontal bars with a range.

Lengths are in SVG user units; a page scales the whole. The same numbers give the same text.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

#: A colour that can be read on white and on black.
INK = "#7d858e"
#: For the lines of a plot, in order; the ninth line takes the first colour again.
COLOURS = ("#2f81c4", "#d9822b", "#2e9e5b", "#c94f6d", "#8c6bd9", "#189aa8", "#a08420", "#9aa4ae")
WIDTH, LINES_HEIGHT = 560, 240
#: Height of a line of text, and of a bar with the space around it.
TEXT, BAR = 18, 24
#: Width of a character at most, at the size of labels.
CHARACTER = 6.2
#: Ticks of an axis, about.
TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar: its number, the range that its whisker shows (None: no whisker), and its colour."""

    value: float
    least: float | None = None
    most: float | None = None
    colour: str = COLOURS[0]


def lines(title: str, unit: str, named: Mapping[str, Sequence[float | None]]) -> str:
    """Return a plot of lists of numbers over their places; a missing number is a gap.

    Args:
        title: above it.
        unit: of the numbers.
        named: the lists; their names are a legend if there is more than one.
    """
    found = [one for values in named.values() for one in values if one is not None]
    ticks = axis(min([0.0, *found]), max([0.0, *found]))
    left = 14 + CHARACTER * max(len(label(one)) for one in ticks)
    shown = legend(list(named)) if len(named) > 1 else []
    top, bottom = TEXT * (2 + max((row for _, row, _ in shown), default=-1)) + 8, 198
    longest = max(len(values) for values in named.values())

    def x(place: float) -> float:
        return left + (WIDTH - 12 - left) * place / max(longest - 1, 1)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [text(0, 14, f"{title}, {unit}" if unit else title, size=13)]
    for number, (at, row, name) in enumerate(shown):
        parts.append(swatch(at, TEXT * (row + 1), COLOURS[number % len(COLOURS)]))
        parts.append(text(at + 14, TEXT * (row + 1) + 14, name))
    for tick in ticks:
        parts.append(rule(left, y(tick), WIDTH - 12, y(tick), faint=tick != ticks[0]))
        parts.append(text(left - 6, y(tick) + 4, label(tick), anchor="end"))
    parts.append(rule(left, top, left, bottom))
    for tick in (one for one in axis(0, longest - 1) if one <= longest - 1 and one == int(one)):
        parts.append(text(x(tick), bottom + TEXT, label(tick), anchor="middle"))
    parts.append(text((left + WIDTH) / 2, bottom + 2 * TEXT, "sample", anchor="middle"))
    for number, values in enumerate(named.values()):
        for run in runs(values):
            points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in run)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke-width="1.8" '
                f'stroke-linejoin="round" stroke="{COLOURS[number % len(COLOURS)]}"/>'
            )
    return document(title, LINES_HEIGHT, parts)


def bars(title: str, unit: str, rows: Mapping[str, Bar], shown: str = "{:.4g}") -> str:
    """Return horizontal bars, the first on top, each with its number beside it.

    Args:
        title: above them.
        unit: of the numbers.
        rows: the bars by name.
        shown: format of the numbers beside them.
    """
    left = 8 + min(CHARACTER * max(len(name) for name in rows), 0.6 * WIDTH)
    numbers = {name: shown.format(bar.value) for name, bar in rows.items()}
    right = WIDTH - 14 - CHARACTER * max(len(one) for one in numbers.values())
    most = max(max(bar.value, bar.most or 0) for bar in rows.values())
    scale = (right - left) / (most or 1)
    parts = [text(0, 14, f"{title}, {unit}" if unit else title, size=13)]
    for place, (name, bar) in enumerate(rows.items()):
        top = TEXT + 8 + BAR * place
        middle, end = top + BAR / 2, left + scale * max(bar.value, 0)
        parts.append(text(left - 8, middle + 4, cut(name, left - 8), anchor="end"))
        parts.append(
            f'<rect x="{left:.1f}" y="{top + 4}" width="{end - left:.1f}" height="{BAR - 8}" '
            f'fill="{bar.colour}"/>'
        )
        if bar.least is not None and bar.most is not None and bar.most > bar.least:
            parts.append(rule(left + scale * bar.least, middle, left + scale * bar.most, middle))
        beyond = max(end, left + scale * (bar.most or 0))
        parts.append(text(beyond + 6, middle + 4, numbers[name]))
    bottom = TEXT + 8 + BAR * len(rows)
    parts.append(rule(left, TEXT + 8, left, bottom))
    return document(title, bottom + 8, parts)


def axis(least: float, most: float) -> list[float]:
    """Return round numbers that cover a range, a step of 1, 2 or 5 times a power of ten apart."""
    most = most if most > least else least + 1.0
    raw = (most - least) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * min(one for one in (1, 2, 5, 10) if one * power >= raw * 0.999)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the parts of a list without a gap, each number with its place."""
    found: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            found.append([])
        else:
            found[-1].append((place, value))
    return [run for run in found if run]


def legend(names: Sequence[str]) -> list[tuple[float, int, str]]:
    """Return where the names of a legend stand: x, number of the line of text, name."""
    found: list[tuple[float, int, str]] = []
    at, row = 60.0, 0
    for name in names:
        width = 28 + CHARACTER * len(name)
        if found and at + width > WIDTH:
            at, row = 60.0, row + 1
        found.append((at, row, name))
        at += width
    return found


def label(value: float) -> str:
    """Return a number of an axis."""
    return f"{value:,.6g}"


def cut(words: str, width: float) -> str:
    """Return a text that is no wider than so many units."""
    most = int(width / CHARACTER + 0.01)
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"


def text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 11) -> str:
    """Return a line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{INK}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def rule(x1: float, y1: float, x2: float, y2: float, *, faint: bool = False) -> str:
    """Return a straight line."""
    more = ' stroke-opacity="0.25"' if faint else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}"{more}/>'


def swatch(x: float, y: float, colour: str) -> str:
    """Return the square beside a name of a legend."""
    return f'<rect x="{x:.1f}" y="{y + 5:.1f}" width="9" height="9" fill="{colour}"/>'


def document(title: str, height: float, parts: Iterable[str]) -> str:
    """Return the ``<svg>`` element."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif">'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"
