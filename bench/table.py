"""The figures of a run, for people and for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.sizes import Change, Cost

MEGA = 1e6


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a case measured.

    Args:
        case: its name.
        what: in words.
        seconds: of the build; None for a case that is no build, or was not measured.
        links_s: until the last link was there (stages 1 to 3, or a build that ends with it); the
            other stages judge, seal and prove the image, whatever was changed.
        ratio: seconds against those of the full build, or bytes against bytes.
        links_ratio: `links_s` against the seconds of the full build.
        target: in words; empty when there is none.
        met: whether `ratio` met the target; None when there is none.
        links_met: whether `links_ratio` did.
        note: what else is worth knowing, or why nothing was measured.
        load: processes that waited for a processor before, as a measure of noise; see uptime(1).
    """

    case: str
    what: str
    seconds: float | None = None
    links_s: float | None = None
    ratio: float | None = None
    links_ratio: float | None = None
    target: str = ""
    met: bool | None = None
    links_met: bool | None = None
    note: str = ""
    load: float | None = None


def as_json(
    figures: Iterable[Figure], costs: Sequence[Cost], host: dict[str, Any]
) -> dict[str, Any]:
    """Return all of it as JSON-like data."""
    return {
        "host": host,
        "cases": [asdict(figure) for figure in figures],
        "links": [{**asdict(cost), "ratio": cost.ratio} for cost in costs],
    }


def markdown(figures: Iterable[Figure], costs: Sequence[Cost], host: dict[str, Any]) -> str:
    """Return all of it as Markdown."""
    words = ", ".join(f"{name} {value}" for name, value in host.items())
    parts = [case_table(figures)]
    if costs:
        parts.append(cost_table(costs))
    if words:
        parts.append(f"Host: {words}.")
    return "\n\n".join(parts)


def section(data: Any) -> str:  # noqa: ANN401 (JSON)
    """Return what `as_json` made as Markdown."""
    figures = [Figure(**one) for one in data["cases"]]
    costs = [Cost(**{**one, "change": Change(**one["change"])}) for one in map(bare, data["links"])]
    return markdown(figures, costs, data["host"])


def bare(link: dict[str, Any]) -> dict[str, Any]:
    """Return a link's costs without what is calculated of them."""
    return {name: value for name, value in link.items() if name != "ratio"}


def case_table(figures: Iterable[Figure]) -> str:
    """Return a line for each case."""
    rows = [
        [
            figure.what, seconds(figure.seconds), percent(figure.ratio), seconds(figure.links_s),
            percent(figure.links_ratio), verdict(figure), figure.note,
        ]
        for figure in figures
    ]  # fmt: skip
    heads = ["case", "seconds", "ratio", "seconds until the links are there", "ratio", "target",
             "remark"]  # fmt: skip
    return table(heads, rows)


def cost_table(costs: Iterable[Cost]) -> str:
    """Return a line for each link, in megabytes."""
    rows = [
        [
            cost.name, mega(cost.file), mega(cost.change.written), f"{cost.ratio:.2f}",
            mega(cost.change.clusters), mega(cost.change.cleared), mega(cost.flat),
        ]
        for cost in costs
    ]  # fmt: skip
    heads = ["link", "MB on disk", "MB changed (4 KiB blocks)", "MB on disk / changed",
             "MB changed (64 KiB clusters)", "MB cleared", "MB as a flat image"]  # fmt: skip
    return table(heads, rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float | None) -> str:
    """Return seconds as text."""
    return "" if value is None else f"{value:.1f}"


def percent(ratio: float | None) -> str:
    """Return a ratio as text."""
    return "" if ratio is None else f"{100 * ratio:.1f} %"


def verdict(figure: Figure) -> str:
    """Return the target and whether it was met, by the whole build and by its links."""
    told = [f"{name}{'met' if met else 'MISSED'}"
            for name, met in (("", figure.met), ("until the links ", figure.links_met))
            if met is not None]  # fmt: skip
    return ": ".join([figure.target, ", ".join(told)]) if told else figure.target


def mega(count: int) -> str:
    """Return bytes in megabytes."""
    return f"{count / MEGA:.1f}"
