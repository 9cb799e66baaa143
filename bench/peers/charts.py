"""Plots of times: a bar for each variant, its length the median, its whisker the spread."""

from collections.abc import Collection, Mapping

from bench.peers.spread import Spread
from cube.suites import svg
from cube.suites.svg import Bar

#: Of ours, and of the others.
OURS, OTHERS = "#2f81c4", "#9aa4ae"


def draw(title: str, bars: Mapping[str, Spread], ours: Collection[str]) -> str:
    """Return an SVG of times by label, the first on top; ours have a colour of their own."""
    rows = {
        label: Bar(
            value=one.median,
            least=one.least,
            most=one.most,
            colour=OURS if label in ours else OTHERS,
        )
        for label, one in bars.items()
    }
    return svg.bars(title, "", rows, shown="{:.2f}")
