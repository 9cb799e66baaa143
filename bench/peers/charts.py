"""Plots of times: a bar for each variant, its length the median, its whisker the spread."""

import io
from collections.abc import Mapping

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bench.peers.results import Results
from bench.peers.spread import Spread
from cube.suites.charts import INK

#: Width, and height of a bar, in inches of 72 points.
WIDTH, BAR = 6.4, 0.42
#: Of ours, and of the others.
OURS, OTHERS = "#2f81c4", "#9aa4ae"


def draw(results: Results, case: str, delay_ms: int, labels: Mapping[str, str]) -> str:
    """Return an SVG of a case at a round trip."""
    found = {name: results.of(case, name, delay_ms) for name in labels}
    bars = {name: one for name, one in found.items() if one is not None}
    # The same figures give the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"{case}-{delay_ms}"}):
        figure = Figure(figsize=(WIDTH, 0.8 + BAR * len(bars)), layout="constrained")
        FigureCanvasSVG(figure)
        fill(figure, bars, labels, f"{case}, {delay_ms} ms of round trip, seconds")
        target = io.StringIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    return target.getvalue()


def fill(figure: Figure, bars: Mapping[str, Spread], labels: Mapping[str, str], title: str) -> None:
    """Put bars into a figure, the first on top."""
    axes = figure.add_subplot()
    medians = [one.median for one in bars.values()]
    below = [one.median - one.least for one in bars.values()]
    above = [one.most - one.median for one in bars.values()]
    colours = [OURS if name.startswith("cube") else OTHERS for name in bars]
    drawn = axes.barh([labels[name] for name in bars], medians, xerr=[below, above], color=colours,
                      ecolor=INK)  # fmt: skip
    axes.bar_label(drawn, labels=[f" {median:.2f}" for median in medians], color=INK, padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(title, color=INK, fontsize=10)
    axes.tick_params(colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(INK)
