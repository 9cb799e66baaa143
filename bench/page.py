"""docs/bench.md: a section for each benchmark, written from its last whole run."""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cube.cli import command_line
from cube.hosts.validation import svg
from cube.hosts.validation.svg import Bar
from cube.runtime import log

HEAD = """# Speed

Written by `make bench`; do not edit it. Each section is of one run on one machine. What is
compared, and how: [bench/README.md](../bench/README.md).
"""
#: In the page's order: the name of each benchmark's data, and its title.
SECTIONS = {"speed": "Against Ansible", "hosts": "Many hosts", "seal": "The seal",
            "chain": "The layer chain"}  # fmt: skip
#: Of our bars, and of the others.
OURS, OTHERS = svg.COLOURS[0], svg.COLOURS[-1]
#: Where disks of some gigabytes are made: /tmp is memory on many systems.
#: Source: Filesystem Hierarchy Standard 3.0, 5.15.
LARGE = Path("/var/tmp")  # noqa: S108 (new folders with random names)
Row = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A bound of a ratio (`value`, None: not measured), and what bounds it where it is missed."""

    what: str
    bound: float
    value: float | None
    at_least: bool = False
    limit: str = ""

    def row(self) -> Row:
        """Return its row of the table of targets."""
        side = "at least" if self.at_least else "at most"
        if self.value is None:
            return [self.what, f"{side} {self.bound:g}", "", "not measured", ""]
        met = self.value >= self.bound if self.at_least else self.value <= self.bound
        verdict, limit = ("met", "") if met else ("**missed**", self.limit)
        return [self.what, f"{side} {self.bound:g}", f"{self.value:.3g}", verdict, limit]


@dataclass(kw_only=True)
class Section:
    """A benchmark's part of the page.

    Args:
        text: before the tables.
        tables: by title, which may be empty; the first row is the heads.
        host: where it was measured.
        load: of the machine before each run.
        plots: times by label, by title.
        ours: labels of our own lines.
        runs: every single measurement.
    """

    text: str
    tables: dict[str, Sequence[Row]] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    plots: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    ours: list[str] = field(default_factory=list)
    runs: Any = None

    def judge(self, targets: Iterable[Target]) -> None:
        """Add the table of targets."""
        heads = ["target", "bound", "measured", "verdict", "what bounds it"]
        self.tables["Targets"] = [heads, *(one.row() for one in targets)]

    def markdown(self) -> str:
        """Return text, tables, and where it was measured."""
        parts = [self.text]
        for title, rows in self.tables.items():
            parts += [*([f"### {title}"] if title else []), table(rows)]
        words = [f"{name} {value}" for name, value in self.host.items()]
        if self.load:
            words.append(f"load of the machine {min(self.load):.1f}-{max(self.load):.1f}")
        return "\n\n".join([*parts, f"Measured on: {', '.join(words)}."])


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table; the first one is the heads."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(title: str, times: Mapping[str, Sequence[float]], ours: Sequence[str]) -> str:
    """Return an SVG: a bar as long as the median for each label, a whisker for the range."""
    rows = {
        label: Bar(
            value=statistics.median(runs),
            least=min(runs),
            most=max(runs),
            colour=OURS if label in ours else OTHERS,
        )
        for label, runs in times.items()
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
        file = folder / f"{name}.json"
        if not file.exists():
            continue
        section = Section(**json.loads(file.read_text()))
        parts += [f"## {title}", section.markdown()]
        for number, (words, times) in enumerate(section.plots.items(), 1):
            drawn = folder / f"{name}-{number}.svg"
            drawn.write_text(plot(words, times, section.ours))
            parts.append(f"![{words}]({folder.name}/{drawn.name})")
    return "\n".join(f"{part.strip()}\n" for part in parts)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--folder", type=Path, default=LARGE, help="for disks (default: /var/tmp)")
    made.add_argument("--page", type=Path, help="write this page; data and plots lie beside it")
    return made


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what reads comma-separated names of a list, in its order."""

    def read(text: str) -> list[str]:
        wanted, all_names = text.split(","), list(known)
        if unknown := sorted({*wanted} - {*all_names}):
            choice = ", ".join(all_names)
            raise argparse.ArgumentTypeError(f"unknown: {unknown[0]!r}; choose from {choice}")
        return [name for name in all_names if name in wanted]

    return read


def numbers(text: str) -> list[int]:
    """Read comma-separated whole numbers, sorted."""
    if not all(word.isdecimal() for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: write whole numbers, as in 0,10")
    return sorted({int(word) for word in text.split(",")})


def run(args: argparse.Namespace, work: Callable[[argparse.Namespace, Path], None]) -> int:
    """Do a benchmark's work in a new folder; return its exit code, errors printed as by `cube`."""

    def done() -> int:
        folder = Path(tempfile.mkdtemp(prefix="cube-bench-", dir=args.folder)).resolve()
        try:
            work(args, folder)
        finally:
            if str(folder) in Path("/proc/self/mounts").read_text():
                log.warning(f"{folder} stays: something is mounted in it")
            else:
                shutil.rmtree(folder)
        return 0

    return command_line.ended(done, "plain")
