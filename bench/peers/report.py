"""The figures as a part of the page: tables, and plots beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.peers import charts
from bench.peers.results import FIRST, FULL, NOOP, REBUILD, Results, from_data
from bench.peers.spread import Spread
from bench.peers.targets import TARGETS, Verdict, judge
from bench.peers.variants import VARIANTS
from bench.table import table

#: Of the rebuild, beside our own.
PACKER, PUT_TOGETHER = "packer-run", "packer-ansible"
LABELS = {
    **{one.name: one.label for one in VARIANTS},
    PACKER: "Packer with its Ansible provisioner (pipelining), layer 1 alone",
    PUT_TOGETHER: "the same put together: our bare OS anew, Ansible at native speed",
}
OURS = [one.label for one in VARIANTS if one.tool == "cube"]
TITLES = {
    FIRST: "First application of layer 1, from a warm cache of packages",
    NOOP: "Nothing to do: layer 1 applied again",
    REBUILD: "Rebuild after a change in layer 5, to the last link",
    FULL: "Build from nothing, to the last link",
}
HEAD = """Times are seconds of the whole command: median (least-most, runs). A ratio above 1 says
how many times longer the line takes than Vault Cube in the same run."""


def section(data: Any, folder: Path) -> str:  # noqa: ANN401 (JSON)
    """Draw the plots into a folder; return tables and plots as Markdown."""
    results = from_data(data)
    drawn = []
    for case, title in TITLES.items():
        for delay in results.delays(case):
            name = f"{case}-{delay}ms.svg"
            (folder / name).write_text(plot(results, case, delay))
            drawn.append(f"![{title}, {delay} ms]({folder.name}/{name})")
    return "\n\n".join([markdown(results), *drawn])


def plot(results: Results, case: str, delay_ms: int) -> str:
    """Return an SVG of a case at a round trip."""
    found = {label: results.of(case, name, delay_ms) for name, label in LABELS.items()}
    bars = {label: one for label, one in found.items() if one is not None}
    return charts.draw(f"{case}, {delay_ms} ms of round trip, seconds", bars, OURS)


def markdown(results: Results) -> str:
    """Return the tables."""
    parts = [HEAD]
    for case, title in TITLES.items():
        if delays := results.delays(case):
            parts += [f"### {title}", case_table(results, case, delays)]
    parts += ["### Targets", target_table(judge(results, TARGETS))]
    if results.missing:
        parts += [
            "### Not measured",
            *[f"- {what}: {why}" for what, why in results.missing.items()],
        ]
    words = ", ".join(f"{name} {value}" for name, value in results.host.items())
    load = (
        f" Load of the machine: {min(results.load):.1f}-{max(results.load):.1f}."
        if results.load
        else ""
    )
    return "\n\n".join([*parts, f"{words}.{load}"])


def case_table(results: Results, case: str, delays: Sequence[int]) -> str:
    """Return a line for each variant, two columns for each round trip."""
    heads = [""]
    for delay in delays:
        heads += [f"{delay} ms", "ratio"]
    names = [name for name in LABELS if any(results.of(case, name, delay) for delay in delays)]
    rows = []
    for name in names:
        row = [LABELS[name]]
        for delay in delays:
            row += [
                told(results.of(case, name, delay)),
                times(results.ratio(case, name, "cube", delay)),
            ]
        rows.append(row)
    return table(heads, rows)


def told(found: Spread | None) -> str:
    """Return times as text."""
    if found is None:
        return ""
    if found.count == 1:
        return f"{found.median:.2f} (1)"
    return f"{found.median:.2f} ({found.least:.2f}-{found.most:.2f}, {found.count})"


def times(ratio: float | None) -> str:
    """Return a ratio as text."""
    return "" if ratio is None else f"{ratio:.2f}"


def target_table(verdicts: Sequence[Verdict]) -> str:
    """Return a line for each target."""
    rows = [
        [
            one.target.what,
            f"{one.target.side} {one.target.bound:g}",
            "" if one.ratio is None else f"{one.ratio:.3g}",
            one.word,
            one.target.limit if one.met is False else "",
        ]
        for one in verdicts
    ]
    return table(["target", "bound", "ratio", "", "what bounds it"], rows)
