#!/usr/bin/env python3
"""Our site against an Ansible playbook that does the same, side by side in one run.

Each tool gets a fresh box (a container on an overlay of the bare OS), reached by SSH. What they
leave is compared by a script that imports nothing of any tool; other states are a failure, no
figure. Run it as root, like 'cube build'.
"""

import argparse
import contextlib
import os
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# As a program (python bench/speed.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import boxes, equality, measure, page, playbook, rebuild, tools
from bench.boxes import Box, Sources
from bench.measure import PROJECT, turns
from bench.page import Section, Target
from bench.tools import VARIANTS, WORKERS, Shop
from cube import config
from cube.chain.store.links import Store
from cube.machines import ssh
from cube.runtime import log
from cube.runtime.errors import CubeError

FIRST, NOOP, REBUILD, FULL = "first", "noop", "rebuild", "full"
CASES = (FIRST, NOOP, REBUILD)
#: The cube.toml that is measured.
SPEC = """
[admin]
ssh_keys = ["{key}"]
[layers]
enabled = [1]
{roles}
[build]
dir = "{folder}/build"
[network]
ca_certificates = "none"
"""
LABELS = {**{name: one.label for name, one in VARIANTS.items()}, **rebuild.LABELS}
TITLES = {
    FIRST: "First application of layer 1, from a warm cache of packages",
    NOOP: "Nothing to do: layer 1 applied again",
    REBUILD: "Rebuild after a change in layer 5, to the last link",
    FULL: "Build from nothing, to the last link",
}
HEAD = """Times are seconds of the whole command: median (least-most, runs). A ratio above 1 says
how many times longer the line takes than Vault Cube in the same run."""
#: Ratios of two lines of the page, with their bounds.
TARGETS = tomllib.loads(Path(__file__).with_name("targets.toml").read_text())["speed"]


@dataclass
class Race:
    """One run: seconds by case, variant and round trip; boxes that stay up; their one state."""

    shop: Shop
    base: Path
    given: Sources
    names: Sequence[str]
    seconds: dict[tuple[str, str, int], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    load: list[float] = field(default_factory=list)
    boxes: dict[str, Box] = field(default_factory=dict)
    state: str = ""

    def fresh(
        self, place: str, delays: Sequence[int] = (0,)
    ) -> contextlib.AbstractContextManager[Box]:
        """Boot a new box, in a folder of its own."""
        return boxes.started(place, self.base, self.shop.folder / place, self.given, delays)

    @contextlib.contextmanager
    def started(self, delays: Sequence[int]) -> Iterator[None]:
        """Load every package by a run that is no figure; boot a box for each variant."""
        with log.step("Filling the cache of packages"), self.fresh("warm") as one:
            tools.apply("cube", one, 0, self.shop)
        with contextlib.ExitStack() as stack:
            for name in self.names:
                if name in WORKERS:
                    self.boxes[name] = stack.enter_context(self.fresh(name, delays))
            yield

    def once(
        self, case: str, name: str, delay_ms: int, *, on: Box | None = None, counted: bool = True
    ) -> None:
        """Apply once, on the variant's box, the first box or another one, and note it."""
        self.load.append(os.getloadavg()[0])
        box = on or self.boxes.get(name) or next(iter(self.boxes.values()))
        seconds, changed = tools.apply(name, box, delay_ms, self.shop)
        if counted and changed is not None and (changed > 0) == (case == NOOP):
            raise CubeError(f"{name}, {case}: {changed} changes were made")
        log.info(f"{name}, {case}, {delay_ms} ms: {seconds:.2f} s")
        if counted:
            self.seconds[case, name, delay_ms].append(seconds)

    def first(self, rounds: int, delays: Sequence[int] = ()) -> None:
        """Apply layer 1 for the first time, one tool after the other; all states must be one.

        Each further round, and the one of each longer round trip, is on new boxes.
        """
        for name in self.boxes:
            with log.step(f"First application by {name}"):
                self.once(FIRST, name, 0)
        self.require_same()
        limits = [name for name in self.names if name == "apt"]
        orders = turns(list(self.boxes), rounds)
        anew = [(name, number, 0) for number, order in enumerate(orders[1:], 2) for name in order]
        anew += [(name, number, 0) for number in range(1, rounds + 1) for name in limits]
        anew += [(name, 1, delay) for delay in delays if delay for name in self.boxes]
        for name, number, delay in anew:
            self.first_anew(name, number, delay)

    def first_anew(self, name: str, number: int, delay_ms: int) -> None:
        """Apply for the first time on a box that is there for it alone; compare its state."""
        place = f"{name}-{number}-{delay_ms}ms"
        with log.step(f"First application, {place}"), self.fresh(place, [0, delay_ms]) as one:
            if name == "apt":
                made = next(iter(self.boxes.values())).machine.endpoint
                one.packages = ssh.execute(made, "apt-mark showmanual").stdout
            self.once(FIRST, name, delay_ms, on=one)
            if name != "apt":
                self.require_same({place: one})

    def no_op(self, delay_ms: int, rounds: int) -> None:
        """Apply again, in turns; the first time of each opens connections and is not counted."""
        with log.step(f"Applying again at {delay_ms} ms"):
            names = [name for name in self.names if name != "apt"]
            for name in names:
                self.once(NOOP, name, delay_ms, counted=False)
            for name in (one for order in turns(names, rounds) for one in order):
                self.once(NOOP, name, delay_ms)

    def require_same(self, new: Mapping[str, Box] | None = None) -> None:
        """Refuse figures of tools that do not leave the same: new boxes, or all that stay up."""
        with log.step("Comparing what they left"):
            self.state = self.state if new else ""
            for name, one in (new or self.boxes).items():
                state = one.state()
                equality.require_whole(state, name)
                self.state = self.state or state
                equality.require_same(self.state, state, (next(iter(self.boxes)), name))


def section(
    seconds: Mapping[tuple[str, str, int], list[float]], load: list[float], host: dict[str, Any]
) -> Section:
    """Return times, ratios and targets as a section of the page."""
    made = Section(text=HEAD, load=load, host=host)
    made.ours = [LABELS[name] for name in ("cube", "cube-stock")]

    def at(case: str, name: str, delay: int) -> list[float]:
        return seconds.get((case, name, delay), [])

    for case, title in TITLES.items():
        delays = sorted({key[2] for key in seconds if key[0] == case})
        rows = [["", *(word for delay in delays for word in (f"{delay} ms", "ratio"))]]
        for name in (one for one in LABELS if any(at(case, one, delay) for delay in delays)):
            row = [LABELS[name]]
            for delay in delays:
                times = at(case, name, delay)
                ratio = measure.ratio(times, at(case, "cube", delay))
                row += [measure.spread(times) if times else "", f"{ratio:.2f}" if ratio else ""]
            rows.append(row)
        if delays:
            made.tables[title] = rows
        for delay in delays:
            bars = {label: at(case, name, delay) for name, label in LABELS.items()}
            bars = {label: times for label, times in bars.items() if times}
            made.plots[f"{title}, {delay} ms"] = bars
    targets = []
    for one in TARGETS:
        over, under = (
            at(one["case"], one[side], one.get("delay", 0)) for side in ("over", "under")
        )
        words = {name: one[name] for name in ("what", "bound", "at_least", "limit")}
        targets.append(Target(value=measure.ratio(over, under), **words))
    made.judge(targets)
    made.runs = [
        {"case": case, "variant": name, "round_trip_ms": delay, "seconds": times}
        for (case, name, delay), times in seconds.items()
    ]
    return made


def run_cases(args: argparse.Namespace, folder: Path) -> None:
    """Run the cases that are wanted; of a run that fails, print what was measured."""
    cache = args.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    file, key = folder / "cube.toml", ssh.make_key(folder / "admin")
    file.write_text(SPEC.format(key=key, folder=folder, roles=""))
    shop = Shop(folder=folder, venv=playbook.venv(cache / "ansible"), spec=config.load(file))
    base = Store(folder=args.build.resolve() / playbook.OS / "chain").named("base").disk
    host = {**measure.host(), **playbook.versions()}
    with boxes.sources(shop.spec, cache) as given:
        race = Race(shop=shop, base=base, given=given, names=args.variants)
        whole = False
        try:
            with race.started(sorted({0, *args.delays})):
                race.first(args.firsts, args.delays)
                for delay in args.delays if NOOP in args.cases else ():
                    race.no_op(delay, args.repeat)
                race.require_same()
            if REBUILD in args.cases:
                applied = race.seconds[FIRST, "pipelining", 0]
                found = rebuild.measure(shop, given, applied, args.repeat)
                for (case, name), times in found.items():
                    race.seconds[case, name, 0] = times
            whole = True
        finally:  # the page stays that of the last whole run
            made = section(race.seconds, race.load, host)
            page.publish("speed", made, args.page if whole else None)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made, build = page.parser(__doc__), PROJECT / "build"
    add, words, numbers = made.add_argument, page.names, page.numbers
    add("--cases", type=words(CASES), default=list(CASES), help=f"{', '.join(CASES)}")
    add("--variants", type=words(VARIANTS), default=list(VARIANTS), help=", ".join(VARIANTS))
    add("--delays", type=numbers, default=[0, 10, 50], help="round trips in ms, comma-separated")
    add("--repeat", type=int, default=3, help="no-ops of each variant, and rebuilds of ours")
    add("--firsts", type=int, default=3, help="first applications of each variant on loopback")
    add("--quick", action="store_true", help="one first application, 2 no-ops, on loopback only")
    add("--build", type=Path, default=build, help="build.dir of a build, whose bare OS is taken")
    add("--cache", type=Path, default=build / "bench", help="for Ansible and packages")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code, as `cube` does."""
    args = parser().parse_args(argv)
    if args.quick:
        args.delays, args.firsts, args.repeat = [0], 1, 2
    return page.run(args, run_cases)


if __name__ == "__main__":
    sys.exit(main())
