"""Our site against an Ansible playbook that does the same, side by side in one run.

Each tool gets a fresh box (a container on an overlay of the bare OS), reached by SSH. What they
leave is compared by a script that imports nothing of any tool; other states are a failure, no
figure. Run it as root, like 'cube build'.
"""

import argparse
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import boxes, equality, options, playbook, rebuild, tools
from bench.boxes import Box, Sources
from bench.page import Section, Target
from bench.rebuild import FULL, REBUILD
from bench.timing import PROJECT, Runs, turns
from bench.tools import VARIANTS, WORKERS, Site
from cube import config
from cube.chain.store.links import Store
from cube.machines import ssh
from cube.runtime import log
from cube.supply import package_cache, wheel_cache

FIRST, NOOP = "first", "noop"
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
    """One run, by case, variant and round trip (ms), and the boxes that stay up."""

    site: Site
    base: Path
    given: Sources
    names: Sequence[str]
    runs: Runs = field(default_factory=Runs)
    boxes: dict[str, Box] = field(default_factory=dict)

    def fresh(self, place: str, delays: Sequence[int] = ()) -> AbstractContextManager[Box]:
        """Boot a new box, in a folder of its own."""
        site = replace(self.site, folder=self.site.folder / place)
        return boxes.started(site, self.base, self.given, delays)

    @contextmanager
    def started(self, delays: Sequence[int]) -> Iterator[None]:
        """Load every package by a run that is no figure; boot a box for each variant."""
        with log.step("Filling the cache of packages"), self.fresh("warm") as one:
            tools.apply(VARIANTS["cube"], one.sites[0])
        with ExitStack() as stack:
            for name in self.names:
                if name in WORKERS:
                    self.boxes[name] = stack.enter_context(self.fresh(name, delays))
            yield

    def first(self, rounds: int, delays: Sequence[int] = ()) -> None:
        """Apply layer 1 for the first time, one tool after the other; all states must be one.

        Each further round, and the one of each longer round trip, is on new boxes.
        """
        for name, box in self.boxes.items():
            key = (FIRST, name, 0)
            tools.measure(self.runs, key, VARIANTS[name], box.sites[0], idle=False)
        state = require_same(self.boxes)
        names = list(self.boxes)
        anew = [(name, 0) for name in turns(names, rounds)[len(names) :]]
        anew += [("apt", 0)] * rounds if "apt" in self.names else []
        anew += [(name, delay) for delay in delays if delay for name in names]
        for number, (name, delay) in enumerate(anew):
            step = f"First application by {name} at {delay} ms, on another box"
            with log.step(step), self.fresh(f"{name}-again{number}", [delay]) as box:
                key, there = (FIRST, name, delay), box.sites[delay]
                tools.measure(self.runs, key, VARIANTS[name], there, idle=False)
                if name in self.boxes:
                    require_same({name: box}, like=state)

    def no_op(self, delay_ms: int, rounds: int) -> None:
        """Apply again, in turns; the first time of each opens connections and is not counted."""
        with log.step(f"Applying again at {delay_ms} ms"):
            names = [name for name in self.names if name != "apt"]
            any_box = next(iter(self.boxes.values()))  # for what leaves no state
            sites = {name: self.boxes.get(name, any_box).sites[delay_ms] for name in names}
            for name in names:
                tools.apply(VARIANTS[name], sites[name])
            for name in turns(names, rounds):
                key = (NOOP, name, delay_ms)
                tools.measure(self.runs, key, VARIANTS[name], sites[name], idle=True)


def require_same(some: Mapping[str, Box], like: str = "") -> str:
    """Return the one state of boxes; refuse tools that leave others, or another than `like`."""
    with log.step("Comparing what they left"):
        for name, box in some.items():
            state = box.state()
            equality.require_whole(state, name)
            like = like or state
            equality.require_same(like, state, name)
    return like


def section(runs: Runs) -> Section:
    """Return times, ratios and targets as a section of the page."""
    lock = playbook.REQUIREMENTS.read_text()
    where = runs.where() | dict(re.findall(r"^(ansible-core|mitogen)==(\S+)", lock, re.MULTILINE))
    made = Section(text=HEAD, host=where, ours=[LABELS["cube"], LABELS["cube-stock"]])
    for case, title in TITLES.items():
        keys = [key for name in LABELS for key in runs if key[:2] == (case, name)]
        delays = sorted({delay for _, _, delay in keys})
        names = dict.fromkeys(name for _, name, _ in keys)
        made.add(title, (row(runs, case, name, delays) for name in names))
        for delay in delays:
            made.plots[f"{title}, {delay} ms"] = {
                LABELS[key[1]]: runs.seconds(*key) for key in keys if key[2] == delay
            }
    made.judge(
        Target(
            one["what"],
            one["bound"],
            runs.ratio(*([one["case"], one[side], one["delay"]] for side in ("over", "under"))),
            one["at_least"],
            one["limit"],
        )
        for one in TARGETS
    )
    return made


def row(runs: Runs, case: str, name: str, delays: Sequence[int]) -> dict[str, str]:
    """Return the row of a variant: its times and its ratio to ours at each round trip."""
    cells = {"": LABELS[name]}
    for delay in delays:
        ratio = runs.ratio([case, name, delay], [case, "cube", delay])
        cells[f"{delay} ms"] = runs.spread(case, name, delay)
        cells[f"ratio at {delay} ms"] = f"{ratio:.2f}" if ratio else ""
    return cells


def add_options(made: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add, words, build = made.add_argument, options.names, PROJECT / "build"
    add("--cases", type=words(CASES), default=list(CASES), help=f"{', '.join(CASES)}")
    add("--variants", type=words(VARIANTS), default=list(VARIANTS), help=", ".join(VARIANTS))
    add("--delays", type=options.numbers, default=[0, 10, 50], help="round trips in ms")
    add("--repeat", type=int, default=3, help="no-ops of each variant, and rebuilds of ours")
    add("--firsts", type=int, default=3, help="first applications of each variant on loopback")
    add("--quick", action="store_true", help="one first application, 2 no-ops, on loopback only")
    add("--build", type=Path, default=build, help="build.dir of a build, whose bare OS is taken")
    add("--cache", type=Path, default=build / "bench", help="for Ansible and packages")


def measure(args: argparse.Namespace, folder: Path) -> Section:
    """Run the cases that are wanted."""
    if args.quick:
        args.delays, args.firsts, args.repeat = [0], 1, 2
    cache = args.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    file, key = folder / "cube.toml", ssh.make_key(folder / "admin")
    file.write_text(SPEC.format(key=key, folder=folder, roles=""))
    site = Site(folder=folder, venv=playbook.make_venv(cache / "ansible"), spec=config.load(file))
    base = Store(folder=args.build.resolve() / playbook.OS / "chain").named("base").disk
    with (
        package_cache.own(site.spec, cache / "packages") as packages,
        wheel_cache.own(site.spec, cache / "wheels") as wheels,
    ):
        given = Sources(packages=packages, wheels=wheels)
        race = Race(site=site, base=base, given=given, names=args.variants)
        with race.started(args.delays):
            race.first(args.firsts, args.delays)
            for delay in args.delays if NOOP in args.cases else ():
                race.no_op(delay, args.repeat)
            require_same(race.boxes)
        if REBUILD in args.cases:
            applied = race.runs.seconds(FIRST, "pipelining", 0)
            rebuild.measure(site, given, race.runs, applied, args.repeat)
    return section(race.runs)
