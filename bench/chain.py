#!/usr/bin/env python3
"""What the layer chain saves: real builds to the last link, several cases in one run, as ratios.

It works on a copy of the project in a temporary folder; your tree and your build/ stay as they
are. A build that did not reuse just what it should is a failure, not a figure.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

# As a program (python bench/chain.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import measure, page, project, sizes
from bench.page import Section, Target
from bench.project import Built, Project
from bench.sizes import Cost
from cube.chain.store.links import Store
from cube.cli.options import image_name
from cube.machines import cleanup
from cube.runtime import log
from cube.runtime.errors import CubeError
from tests.integration import standin_archives

CASES = ("full", "no-change", "layer5", "layer3", "resume", "store", "links")
HEAD = """Builds that end with the last link: what follows, sealing and checking an image, takes
as long whatever was changed."""


@dataclass
class Bench:
    """One run: rows of the page by case, targets, and what the links cost."""

    project: Project
    rows: dict[str, list[str]] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    full_s: float = 0.0

    def run(self, case: str) -> None:
        """Measure a case."""
        with log.step(f"Case {case}"):
            if case in {"store", "links"}:
                self.measure_sizes(case)
            elif case == "full":
                built = self.project.build(self.project.last)
                built.require_reused([])
                self.full_s = built.seconds
                self.add(case, "full build", built)
            elif case == "no-change":
                built = self.project.build(self.project.last)
                if built.made:
                    raise CubeError("a build without a change made something anew")
                self.add(case, "build without a change", built)
                self.targets.append(
                    Target(what="no-change, seconds", bound=10, value=built.seconds)
                )
            else:
                self.change(case, 3 if case == "layer3" else 5)

    def change(self, case: str, layer: int) -> None:
        """Change a role of a layer and build; for `resume`, kill a build of it before."""
        what = f"rebuild after a change in layer {layer}"
        if reason := self.project.skipped(layer):
            note = f"not measured: layer {layer} is skipped here: {reason}"
            self.rows[case] = [what, "", "", note]
            return
        note = f"changed: {self.project.touch(layer).name}"
        if case == "resume":
            what = f"resume after a kill in layer {layer}"
            killed_s = self.project.build_until_killed(layer)
            note = f"killed after {killed_s:.1f} s, at the first operation of layer {layer}"
        below = self.project.below(layer)
        built = self.project.build(self.project.last)
        built.require_reused(below)
        self.add(case, what, built, note)
        if case == "layer5":
            share = built.seconds / self.full_s
            self.targets.append(
                Target(what="layer5, share of the full build", bound=0.15, value=share)
            )

    def add(self, case: str, what: str, built: Built, note: str = "") -> None:
        """Note a build's figures."""
        self.load.append(built.load)
        share = f"{built.seconds / self.full_s:.1%}"
        self.rows[case] = [what, f"{built.seconds:.1f}", share, note]

    def measure_sizes(self, case: str) -> None:
        """Compare the store with flat images, or each link with what it changed."""
        self.costs = self.costs or chain_costs(self.project.store, self.project.folder)
        if case == "links":
            worst = max(self.costs, key=lambda one: one.ratio)
            what = f"links, bytes against bytes changed, at worst ({worst.name})"
            self.targets.append(Target(what=what, bound=1.3, value=worst.ratio))
            return
        files, flat = (sum(getattr(one, name) for one in self.costs) for name in ("file", "flat"))
        note = f"{files / 1e6:.1f} MB against {flat / 1e6:.1f} MB"
        self.rows[case] = ["store against the sum of flat images", "", f"{files / flat:.1%}", note]

    def section(self, host: dict[str, str]) -> Section:
        """Return all of it as a section of the page."""
        made = Section(text=HEAD, host={**measure.host(), **host}, load=self.load)
        heads = ["case", "seconds", "of the full build", "remark"]
        made.tables["Builds"] = [heads, *self.rows.values()]
        if self.costs:
            made.tables["Links"] = cost_table(self.costs)
        made.judge(self.targets)
        made.runs = {"rows": self.rows, "links": [asdict(one) for one in self.costs]}
        return made


def cost_table(costs: Sequence[Cost]) -> list[Sequence[str]]:
    """Return a row for each link, in megabytes."""
    heads = [
        "link",
        "MB on disk",
        "MB changed (4 KiB blocks)",
        "MB on disk / changed",
        "MB changed (64 KiB clusters)",
        "MB cleared",
        "MB as a flat image",
    ]

    def mega(count: int) -> str:
        return f"{count / 1e6:.1f}"

    return [
        heads,
        *(
            [
                one.name,
                mega(one.file),
                mega(one.written),
                f"{one.ratio:.2f}",
                mega(one.clusters),
                mega(one.cleared),
                mega(one.flat),
            ]
            for one in costs
        ),
    ]


def chain_costs(store: Store, scratch: Path) -> list[Cost]:
    """Measure the links of a store's head."""
    links = [link for link in store.current() if not link.skipped]
    if not links:
        raise CubeError(f"there is no chain in {store.folder}", hint="cube build makes one")
    with store.reading():
        return sizes.measure([(link.name, link.disk) for link in links], scratch)


def measure_builds(args: argparse.Namespace, place: Path) -> None:
    """Build in a copy of the project; what was measured is printed even if a case fails."""
    host = {"layers 2 and 3": "from stand-ins (simulated)"} if args.stand_in else {}
    with contextlib.ExitStack() as stack:
        rewrite: Callable[[str], str] = str
        if args.stand_in:
            values = stack.enter_context(standin_archives.served(place / "stand-ins")).values
            rewrite = partial(standin_archives.rewrite, values=values)
        copied = project.copy(place / "project", args.spec, image=args.os or "", rewrite=rewrite)
        stack.callback(cleanup.clear, copied.work.machines)
        bench, whole = Bench(project=copied), False
        try:
            for case in CASES:
                if case == "full" or case in args.cases:
                    bench.run(case)
            whole = True
        finally:  # the page stays that of the last whole run
            page.publish("chain", bench.section(host), args.page if whole else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code, as `cube` does."""
    made, spec = page.parser(__doc__), measure.PROJECT / "cube.toml"
    made.add_argument("os", nargs="?", type=image_name, help="default: image.os of cube.toml")
    made.add_argument("--cases", type=page.names(CASES), default=list(CASES), help=", ".join(CASES))
    made.add_argument("--spec", type=Path, default=spec, help="another cube.toml")
    made.add_argument(
        "--stand-in", action="store_true", help="layers 2 and 3 too, from stand-ins (simulated)"
    )
    return page.run(made.parse_args(argv), measure_builds)


if __name__ == "__main__":
    sys.exit(main())
