"""The figures of the seal, for people and for programs."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.peers import charts
from bench.peers.spread import spread

#: The targets of the project: times as fast, and the part of the size that is saved.
FASTER, SMALLER = 8.0, 0.10
SPECIFICATION = "specification"
OURS = "seal"
JUDGED = f"{OURS}, and QEMU's comparison with the disk"
OWN = [OURS, JUDGED]
#: What bounds both targets.
LIMIT = (
    "What bounds it: a higher level of zstd is smaller, and slower; clusters of 2 MiB are the"
    " largest that qcow2 knows."
)


@dataclass(kw_only=True)
class Figure:
    """What a variant took, run by run; the size is the same each time, but for threads."""

    name: str
    seconds: list[float] = field(default_factory=list)
    size: int = 0
    qcow2: bool = True

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


def as_json(figures: Sequence[Figure], *, used: int, load: float) -> dict[str, Any]:
    """Return all of it as JSON-like data.

    Args:
        figures: of the variants.
        used: bytes of the disk that they read.
        load: processes that waited for a processor before; see uptime(1).
    """
    told = [asdict(one) for one in figures]
    return {"processors": os.cpu_count(), "load": load, "used": used, "variants": told}


def section(data: Any, folder: Path) -> str:  # noqa: ANN401 (JSON)
    """Draw the plot into a folder; return what `as_json` made, and the plot, as Markdown."""
    figures = [Figure(**one) for one in data["variants"]]
    runs = len(figures[0].seconds)
    head = f"The same trimmed disk, {data['used'] / 1e6:,.1f} MB in use, {runs} runs in turns."
    host = f"processors {data['processors']}. Load of the machine before: {data['load']:.1f}."
    bars = {one.name: spread(one.seconds) for one in figures}
    (folder / "seal.svg").write_text(charts.draw("Writing the artifact, seconds", bars, OWN))
    plot = f"![Writing the artifact]({folder.name}/seal.svg)"
    return f"{head}\n\n{markdown(figures)}\n\n{host}\n\n{plot}"


def row(figure: Figure, peer: Figure) -> str:
    """Return a figure's line of the table."""
    spread = f"{min(figure.seconds):.1f}-{max(figure.seconds):.1f}"
    name = figure.name if figure.qcow2 else f"{figure.name} (cannot be booted)"
    return (
        f"| {name} | {figure.median:.1f} | {spread} | {peer.median / figure.median:.1f} |"
        f" {figure.size / 1e6:,.1f} | {1 - figure.size / peer.size:+.1%} |"
    )


def verdict(ours: Figure, peer: Figure) -> str:
    """Say whether the targets are met."""
    faster, smaller = peer.median / ours.median, 1 - ours.size / peer.size
    words = {True: "met", False: "missed"}
    met = faster >= FASTER and smaller >= SMALLER
    return (
        "Targets, writing against writing:"
        f" {faster:.1f}x as fast as the specification's (at least {FASTER:.0f}x:"
        f" {words[faster >= FASTER]}), {smaller:.1%} smaller (at least {SMALLER:.0%}:"
        f" {words[smaller >= SMALLER]}).{'' if met else f' {LIMIT}'}"
    )


def proof(judged: Figure, peer: Figure) -> str:
    """Say what the seal takes with the proof that the specification's command goes without."""
    return (
        "The seal also has QEMU compare what it wrote with the disk; with that, it takes"
        f" {judged.median:.1f} s, {peer.median / judged.median:.1f}x as fast as the specification's"
        " command, which proves nothing."
    )


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table and the verdict."""
    known = {figure.name: figure for figure in figures}
    peer, ours = known[SPECIFICATION], known[OURS]
    head = "| variant | seconds, median | range | times as fast | MB | smaller by |\n"
    head += "|---|---|---|---|---|---|"
    rows = "\n".join(row(figure, peer) for figure in figures)
    told = [verdict(ours, peer), *([proof(known[JUDGED], peer)] if JUDGED in known else [])]
    return "\n\n".join([f"{head}\n{rows}", *told])
