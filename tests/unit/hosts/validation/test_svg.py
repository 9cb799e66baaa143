"""Plots are well-formed SVG that shows every number, and nothing of a name is markup."""

from xml.etree import ElementTree as ET

import pytest

from cube.hosts.validation import charts, svg
from cube.hosts.validation.svg import Bar

NAMESPACE = "{http://www.w3.org/2000/svg}"


def elements(text: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(text).iter(f"{NAMESPACE}{tag}"))


def words(text: str) -> list[str]:
    return [one.text or "" for one in elements(text, "text")]


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 81_559, [0, 20_000, 40_000, 60_000, 80_000, 100_000]),
        (-0.5, 3, [-1, 0, 1, 2, 3]),
        (0, 0.3, [0, 0.1, 0.2, 0.3]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_an_axis_has_round_numbers_that_cover_the_range(
    least: float, most: float, ticks: list[float]
) -> None:
    assert svg.axis(least, most) == pytest.approx(ticks)


def test_a_missing_number_is_a_gap() -> None:
    plot = svg.lines("Load", "%", {"GPU 0": [1, 2, None, 3, 4], "GPU 1": [1, 2, 3, 4, 5]})
    assert [len(one.attrib["points"].split()) for one in elements(plot, "polyline")] == [2, 2, 5]
    assert {"Load, %", "GPU 0", "GPU 1", "sample"} <= set(words(plot))


def test_one_line_needs_no_legend() -> None:
    assert "GPU 0" not in words(svg.lines("Load", "%", {"GPU 0": [1, 2]}))


def test_points_lie_where_their_numbers_are() -> None:
    (line,) = elements(svg.lines("Load", "", {"": [0, 50, 100]}), "polyline")
    heights = [float(point.split(",")[1]) for point in line.attrib["points"].split()]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert heights[0] > heights[2]


def test_bars_are_as_long_as_their_numbers_and_named() -> None:
    plot = svg.bars("Speed", "s", {"1": Bar(value=10), "4": Bar(value=40), "none": Bar(value=0)})
    widths = [float(one.attrib["width"]) for one in elements(plot, "rect")]
    assert widths[1] == pytest.approx(4 * widths[0], abs=0.2)
    assert widths[2] == 0
    assert {"1", "4", "none", "10", "40", "0"} <= set(words(plot))


def test_a_whisker_shows_the_range_of_repeated_runs() -> None:
    plain = svg.bars("Speed", "", {"a": Bar(value=2)})
    ranged = svg.bars("Speed", "", {"a": Bar(value=2, least=1, most=3)})
    assert len(elements(ranged, "line")) == len(elements(plain, "line")) + 1


def test_a_long_name_is_cut_and_markup_in_it_is_text() -> None:
    plot = svg.bars("<b>", "", {"<script>": Bar(value=1), "x" * 200: Bar(value=2)})
    assert {"<b>", "<script>"} <= set(words(plot))
    assert any(one.endswith("x…") and len(one) < 60 for one in words(plot))


def test_the_same_figures_give_the_same_plots() -> None:
    figures = {"loss": [3.0, 2.0], "images_per_second": {"1": 1.0, "4": None}, "step_seconds": 1.0}
    drawn = charts.plots(figures)
    assert drawn == charts.plots(figures)
    assert [len(elements(one, "polyline")) for one in drawn] == [1, 0]
