"""What the layer chain saves: real builds to the last link, several cases in one run, as ratios.

It works on a copy of the project in a temporary folder; your tree and your build/ stay as they
are. A build that did not reuse just what it should is a failure, not a figure.
"""

import argparse
import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from bench import options, project, sizes
from bench.page import Section, Target
from bench.project import Project
from bench.sizes import Cost
from bench.timing import PROJECT, Runs, Timing
from cube.cli.options import image_name
from cube.config.workspace import Workspace
from cube.machines import cleanup
from cube.runtime import log
from tests.integration import standin_archives

#: By case: what the page calls it, and the layer that is changed before; 0: none.
BUILDS = {
    "full": ("full build", 0),
    "no-change": ("build without a change", 0),
    "layer5": ("rebuild after a change in layer 5", 5),
    "layer3": ("rebuild after a change in layer 3", 3),
    "resume": ("resume after a kill in layer 5", 5),
}
CASES = (*BUILDS, "store", "links")
HEAD = """Builds that end with the last link: what follows, sealing and checking an image, takes
as long whatever was changed."""


@dataclass
class Bench:
    """One run: builds by case, what the page says of each case, and what the links cost."""

    project: Project
    runs: Runs = field(default_factory=Runs)
    rows: list[dict[str, str]] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    def run(self, case: str) -> None:
        """Measure a case."""
        with log.step(f"Case {case}"):
            if case in BUILDS:
                self.build(case, *BUILDS[case])
            else:
                self.measure_links(case)

    def build(self, case: str, what: str, layer: int) -> None:
        """Build to the last link, after a change of a layer; for `resume`, a killed one before."""
        if layer and (reason := self.project.skipped(layer)):
            self.add(what, None, None, f"not measured: layer {layer} is skipped here: {reason}")
            return
        reusing, remark = [] if case == "full" else self.project.names(), ""
        if layer:
            reusing = self.project.below(layer)
            remark = f"changed: {self.project.touch(layer).name}"
        if case == "resume":
            killed_s = self.project.build_until_killed(layer)
            remark = f"killed after {killed_s:.1f} s, at the first operation of layer {layer}"
        done = self.project.build(reusing=reusing)
        self.runs[case,].append(done)
        self.add(what, done, self.runs.ratio([case], ["full"]), remark)

    def measure_links(self, case: str) -> None:
        """Measure each link, once; for `store`, compare their files with flat images."""
        links = {link.name: link.disk for link in self.project.store.current()}
        self.costs = self.costs or sizes.measure(links, self.project.folder)
        if case == "store":
            files, flat = sum(one.file for one in self.costs), sum(one.flat for one in self.costs)
            remark = f"{files / 1e6:.1f} MB against {flat / 1e6:.1f} MB"
            self.add("store against the sum of flat images", None, files / flat, remark)

    def add(self, what: str, done: Timing | None, share: float | None, remark: str) -> None:
        """Add a row of the page."""
        cells = (what, f"{done.seconds:.1f}" if done else "", f"{share:.1%}" if share else "")
        heads = ("case", "seconds", "of the full build", "remark")
        self.rows.append(dict(zip(heads, (*cells, remark), strict=True)))
        log.info(", ".join(filter(None, (*cells, remark))))

    def section(self, host: dict[str, str]) -> Section:
        """Return all of it as a section of the page."""
        made = Section(text=HEAD, host={**host, **self.runs.where()})
        made.add("Builds", self.rows)
        made.add("Links", (one.row() for one in self.costs))
        idle, layer5 = self.runs.seconds("no-change"), self.runs.ratio(["layer5"], ["full"])
        ratio, worst = max(((one.ratio, one.name) for one in self.costs), default=(None, "none"))
        made.judge(
            [
                Target("no-change, seconds", 10, idle[0] if idle else None),
                Target("layer5, share of the full build", 0.15, layer5),
                Target(f"links, bytes against bytes changed, at worst ({worst})", 1.3, ratio),
            ]
        )
        return made


def add_options(made: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add, cases = made.add_argument, options.names(CASES)
    add("os", nargs="?", type=image_name, help="default: image.os of cube.toml")
    add("--cases", type=cases, default=list(CASES), help=", ".join(CASES))
    add("--spec", type=Path, default=PROJECT / "cube.toml", help="another cube.toml")
    add("--stand-in", action="store_true", help="layers 2 and 3 too, from stand-ins (simulated)")


def measure(args: argparse.Namespace, folder: Path) -> Section:
    """Build in a copy of the project; the full build always, what the others are held to."""
    file, host = args.spec, {}
    with contextlib.ExitStack() as stack:
        if args.stand_in:
            host = {"layers 2 and 3": "from stand-ins (simulated)"}
            values = stack.enter_context(standin_archives.served(folder / "stand-ins")).values
            file = folder / "cube.toml"
            file.write_text(standin_archives.rewrite(args.spec.read_text(), values))
        bench = Bench(project=project.copy(folder / "project", file, image=args.os or ""))
        stack.callback(cleanup.clear, Workspace.of(bench.project.spec).machines)
        for case in CASES:
            if case == "full" or case in args.cases:
                bench.run(case)
        return bench.section(host)
