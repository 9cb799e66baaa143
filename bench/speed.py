#!/usr/bin/env python3
"""Our site against an Ansible playbook that does the same, side by side in one run.

Each tool gets a fresh box (a container on an overlay of the bare OS), reached by SSH. What they
leave is compared by a script that takes no tool's word; other states are a failure, no figure.
Run it as root, like 'cube build'. It prints Markdown; with --page it writes that, JSON and SVG.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

# As a program (python bench/speed.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import page, program
from bench.peers import base, box, playbook, rebuild, report
from bench.peers.application import SOURCE, Workshop
from bench.peers.cases import Race
from bench.peers.results import FIRST, FULL, NOOP, REBUILD, Results, from_data
from bench.peers.variants import BY_NAME, available
from cube import config
from cube.machines import ssh
from cube.runtime import log

CASES = (FIRST, NOOP, REBUILD)
#: Of a build from nothing, and of the copy of one beside it; the boxes are gone by then.
ROOM_GIB = 24


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    told = argparse.ArgumentParser(prog="bench/speed.py", description=__doc__)
    told.add_argument("--cases", type=Words(CASES), default=list(CASES), metavar="CASE,...",
                      help=f"of {', '.join(CASES)}; default: all. 'first' is always run: the"
                      " others need what it leaves")  # fmt: skip
    told.add_argument("--variants", type=Words(BY_NAME), default=list(BY_NAME), metavar="NAME,...",
                      help=f"of {', '.join(BY_NAME)}; default: all")  # fmt: skip
    told.add_argument("--delays", type=numbers, default=[0, 10, 50], metavar="MS,...",
                      help="round trips, in milliseconds (default: 0,10,50)")  # fmt: skip
    told.add_argument("--repeat", type=int, default=3, metavar="N",
                      help="no-ops of each variant at each round trip, and rebuilds of ours"
                      " (default: %(default)s)")  # fmt: skip
    told.add_argument("--firsts", type=int, default=3, metavar="N",
                      help="first applications of each variant on loopback, each on a box of its"
                      " own; one at each longer round trip (default: %(default)s)")  # fmt: skip
    told.add_argument("--quick", action="store_true",
                      help="one first application and 2 no-ops, on loopback only")  # fmt: skip
    told.add_argument("--build", type=Path, metavar="DIR",
                      help="build.dir of a build: its bare OS is taken, and 'rebuild' goes on from"
                      " a copy of it. Without, the bare OS is built first")  # fmt: skip
    told.add_argument("--base", type=Path, metavar="FILE",
                      help="a disk of the bare OS; 'rebuild' is then left out")  # fmt: skip
    told.add_argument("--cache", type=Path, default=SOURCE / "build/bench", metavar="DIR",
                      help="for Ansible and loaded packages (default: %(default)s)")  # fmt: skip
    told.add_argument("--folder", type=Path, default=program.LARGE, metavar="DIR",
                      help=f"for disks: {ROOM_GIB} GiB (default: %(default)s)")  # fmt: skip
    told.add_argument("--keep", action="store_true",
                      help="keep what the page has of cases that --cases does not name: each case"
                      " is of one run then, not all of them")  # fmt: skip
    told.add_argument("--page", type=Path, metavar="FILE",
                      help="write it into this page of figures; data and plots lie in a folder of"
                      " its name")  # fmt: skip
    return told


class Words:
    """Reads names out of a list of known ones, kept in its order."""

    def __init__(self, known: Iterable[str]) -> None:
        """Know names."""
        self.known = list(known)

    def __call__(self, text: str) -> list[str]:
        """Read them.

        Raises:
            ArgumentTypeError: one is unknown.
        """
        wanted_names = text.split(",")
        if unknown := sorted(set(wanted_names) - set(self.known)):
            raise argparse.ArgumentTypeError(
                f"there is no {unknown[0]!r}: choose of {', '.join(self.known)}"
            )
        return [name for name in self.known if name in wanted_names]


def numbers(text: str) -> list[int]:
    """Read milliseconds.

    Raises:
        ArgumentTypeError: they are none.
    """
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: whole milliseconds, as in 0,10") from error
    if found[0] < 0:
        raise argparse.ArgumentTypeError(f"{found[0]} ms: a round trip takes no less than 0")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code, as `cube` does."""
    told = parser()
    args = told.parse_args(argv)
    if args.keep and not args.page:
        told.error("--keep keeps what a page has: name it with --page")
    if args.quick:
        args.delays, args.firsts, args.repeat = [0], 1, 2
    return program.ended(partial(measure, args))


def measure(args: argparse.Namespace) -> None:
    """Run the cases and write the page; of a run that fails, print what was measured."""
    program.require_room(args.folder, ROOM_GIB)
    args.cache.mkdir(parents=True, exist_ok=True)
    names, missing = available(args.variants, SOURCE)
    results = Results(missing=missing)
    earlier = from_data(page.data(args.page, "speed")) if args.keep else Results()
    with tempfile.TemporaryDirectory(prefix="cube-speed-", dir=args.folder) as place:
        shop = workshop(Path(place), args.cache.resolve())
        results.host = {**base.host(), **playbook.versions(shop.venv)}
        try:
            run_cases(args, shop, names, results)
        except BaseException:
            # The page stays that of the last whole run.
            sys.stdout.write(f"{report.markdown(results)}\n")
            raise
    if args.keep:
        measured = [*args.cases, *([FULL] if REBUILD in args.cases else [])]
        results.keep(earlier, but=measured)
    sys.stdout.write(f"{report.markdown(results)}\n")
    if args.page:
        page.add(args.page, "speed", results.data())
        log.info(f"written: {args.page}")


def run_cases(
    args: argparse.Namespace, shop: Workshop, names: Sequence[str], results: Results
) -> None:
    """Run the cases that are wanted."""
    with raced(args, shop, names, results) as race:
        race.first(args.firsts, args.delays)
        if NOOP in args.cases:
            for delay in args.delays:
                race.no_op(delay, args.repeat)
            race.require_same()
    if REBUILD in args.cases:
        rebuild.measure(results, args.build, shop, args.cache.resolve(), args.repeat)


def workshop(folder: Path, cache: Path) -> Workshop:
    """Make what applications need."""
    file = folder / "cube.toml"
    key = ssh.make_key(folder / "admin")
    file.write_text(base.SPEC.format(key=key, folder=folder, roles=""))
    loaded = config.load(file)
    return Workshop(folder=folder, venv=playbook.venv(cache / "ansible"), spec=loaded)


@contextlib.contextmanager
def raced(
    args: argparse.Namespace, shop: Workshop, names: Sequence[str], results: Results
) -> Iterator[Race]:
    """Boot the boxes, their packages loaded before."""
    cache = args.cache.resolve()
    disk = base.bare(args.base, args.build, cache)
    lock = playbook.DEPLOY / "files/python/tools.txt"
    with box.cached(cache) as port:
        served = (port, box.wheels(cache, lock))
        base.warm(disk, shop, served)
        race = Race(shop=shop, base=disk, cache=served, names=names, results=results)
        with race.started(sorted({0, *args.delays})):
            yield race


if __name__ == "__main__":
    sys.exit(main())
