"""Plots of times: a bar for each variant, its length the median, its whisker the spread."""

import io
from collections.abc import Collection, Mapping

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bench.peers.spread import Spread
from cube.hosts.validation.charts import INK

#: Width, and height of a bar, in inches of 72 points.
WIDTH, BAR = 6.4, 0.42
#: Of ours, and of the others.
OURS, OTHERS = "#2f81c4", "#9aa4ae"


def draw(title: str, bars: Mapping[str, Spread], ours: Collection[str]) -> str:
    """Return an SVG of times by label, the first on top; ours have a colour of their own."""
    # The same figures give the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure = Figure(figsize=(WIDTH, 0.8 + BAR * len(bars)), layout="constrained")
        FigureCanvasSVG(figure)
        fill(figure, title, bars, ours)
        target = io.StringIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    return target.getvalue()


def fill(figure: Figure, title: str, bars: Mapping[str, Spread], ours: Collection[str]) -> None:
    """Put bars into a figure."""
    axes = figure.add_subplot()
    medians = [one.median for one in bars.values()]
    below = [one.median - one.least for one in bars.values()]
    above = [one.most - one.median for one in bars.values()]
    colours = [OURS if label in ours else OTHERS for label in bars]
    drawn = axes.barh(list(bars), medians, xerr=[below, above], color=colours, ecolor=INK)
    axes.bar_label(drawn, labels=[f" {median:.2f}" for median in medians], color=INK, padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(title, color=INK, fontsize=10)
    axes.tick_params(colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(INK)
