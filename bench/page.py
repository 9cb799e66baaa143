"""docs/bench.md: a section for each benchmark, written from its last whole run."""

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cube.hosts.validation import svg
from cube.hosts.validation.svg import Bar
from cube.runtime import log

HEAD = """# Speed

Written by `make bench`; do not edit it. Each section is of one run on one machine. What is
compared, and how: [bench/README.md](../bench/README.md).
"""
#: In the page's order: the name of each benchmark's data, and its title.
SECTIONS = {
    "speed": "Against Ansible",
    "hosts": "Many hosts",
    "seal": "The seal",
    "chain": "The layer chain",
}
#: Of our bars, and of the others.
OURS, OTHERS = svg.COLOURS[0], svg.COLOURS[-1]
Row = Sequence[str]


@dataclass(frozen=True)
class Target:
    """A bound of a ratio (`value`, None: not measured), and what bounds it where it is missed."""

    what: str
    bound: float
    value: float | None
    at_least: bool = False
    limit: str = ""

    def row(self) -> dict[str, str]:
        """Return its row of the table of targets."""
        met = (self.value or 0) >= self.bound if self.at_least else (self.value or 0) <= self.bound
        missed = self.value is not None and not met
        return {
            "target": self.what,
            "bound": f"{'at least' if self.at_least else 'at most'} {self.bound:g}",
            "measured": "" if self.value is None else f"{self.value:.3g}",
            "verdict": "not measured" if self.value is None else "met" if met else "**missed**",
            "what bounds it": self.limit if missed else "",
        }


@dataclass(kw_only=True)
class Section:
    """A benchmark's part of the page."""

    text: str  #: before the tables
    host: Mapping[str, object]  #: where it was measured
    tables: dict[str, Sequence[Row]] = field(default_factory=dict)  #: by title; the heads first
    plots: dict[str, dict[str, list[float]]] = field(default_factory=dict)  #: times, by label
    ours: Sequence[str] = ()  #: labels of our own lines

    def add(self, title: str, rows: Iterable[Mapping[str, str]]) -> None:
        """Add a table of rows that have the same heads; nothing when there is no row."""
        if lines := list(rows):
            self.tables[title] = [list(lines[0]), *(list(line.values()) for line in lines)]

    def judge(self, targets: Iterable[Target]) -> None:
        """Add the table of targets."""
        self.add("Targets", (one.row() for one in targets))

    def markdown(self) -> str:
        """Return text, tables, and where it was measured."""
        parts = [self.text]
        for title, rows in self.tables.items():
            lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
            table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
            parts += [f"### {title}", table] if title else [table]
        words = ", ".join(f"{name} {value}" for name, value in self.host.items())
        return "\n\n".join([*parts, f"Measured on: {words}."])

    def plot(self, title: str) -> str:
        """Return an SVG: a bar as long as the median for each label, a whisker for the range."""
        rows = {
            label: Bar(
                value=statistics.median(runs),
                least=min(runs),
                most=max(runs),
                colour=OURS if label in self.ours else OTHERS,
            )
            for label, runs in self.plots[title].items()
        }
        return svg.bars(title, "seconds", rows, shown="{:.2f}")


def publish(name: str, section: Section, file: Path | None) -> None:
    """Print a section; with a page, keep its data beside that, and write the page anew."""
    sys.stdout.write(f"{section.markdown()}\n")
    if file:
        folder = file.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(asdict(section), indent=1) + "\n")
        file.write_text(render(folder))
        log.info(f"written: {file}")


def render(folder: Path) -> str:
    """Draw the plots of all data in a folder; return the page, without what was never measured."""
    parts = [HEAD]
    for name, title in SECTIONS.items():
        if not (file := folder / f"{name}.json").exists():
            continue
        section = Section(**json.loads(file.read_text()))
        parts += [f"## {title}", section.markdown()]
        for number, words in enumerate(section.plots, 1):
            drawn = folder / f"{name}-{number}.svg"
            drawn.write_text(section.plot(words))
            parts.append(f"![{words}]({folder.name}/{drawn.name})")
    return "\n".join(f"{part.strip()}\n" for part in parts)
