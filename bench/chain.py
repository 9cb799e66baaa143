#!/usr/bin/env python3
"""What the layer chain saves: real builds, several cases in one run, as ratios.

It works on a copy of the project in a temporary folder, and prints Markdown with the figures as
JSON below. A build that did not reuse just what it should is a failure, not a figure. Run it as
root, like 'cube build'; a full build and three rebuilds take their time.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# As a program (python bench/chain.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import page, program, project, standins, table
from bench.cases import CASES, IMAGES, SIZES, Bench, chain_costs
from cube.chain.store.links import Store
from cube.cli.options import image_name
from cube.machines import cleanup
from cube.runtime import log


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    told = argparse.ArgumentParser(prog="bench/chain.py", description=__doc__)
    told.add_argument("os", nargs="?", type=image_name, metavar="IMAGE",
                      help="default: image.os of cube.toml")  # fmt: skip
    told.add_argument("--cases", type=cases, default=list(CASES), metavar="CASE,...",
                      help=f"of {', '.join(CASES)}; default: all. 'full' is always run, because"
                      " the others are measured against it")  # fmt: skip
    told.add_argument("--spec", type=Path, default=project.SOURCE / "cube.toml", metavar="FILE",
                      help="another cube.toml")  # fmt: skip
    told.add_argument("--build", type=Path, metavar="DIR",
                      help="go on from this build.dir instead of a full build; what these sources"
                      " would make anew of it is made first, and is in no figure")  # fmt: skip
    told.add_argument("--links-only", action="store_true",
                      help="the full build ends with the last link, too: no image is sealed and"
                      " proven, and the shares are of a shorter whole")  # fmt: skip
    told.add_argument("--stand-in", action="store_true",
                      help="layers 2 and 3 too, without a GPU and NVIDIA: from stand-ins on"
                      " loopback (simulated evidence; needs gcc and dpkg-dev)")  # fmt: skip
    told.add_argument("--folder", type=Path, default=program.LARGE, metavar="DIR",
                      help="where the copy is made: some 10 GB (default: %(default)s)")  # fmt: skip
    told.add_argument("--keep", action="store_true", help="leave the copy there")
    told.add_argument("--chain", type=Path, metavar="DIR",
                      help="measure this chain (build/OS/chain) instead: cases store and links"
                      " only, without a build")  # fmt: skip
    told.add_argument("--output", type=Path, metavar="FILE", help="write the JSON there too")
    told.add_argument("--page", type=Path, metavar="FILE", help="add it to this page of figures")
    return told


def cases(words: str) -> list[str]:
    """Read names of cases, in the order in which they are run.

    Raises:
        ArgumentTypeError: there is no such case.
    """
    wanted = words.split(",")
    if unknown := sorted(set(wanted) - set(CASES)):
        raise argparse.ArgumentTypeError(f"no case {unknown[0]!r}: choose of {', '.join(CASES)}")
    return [case for case in CASES if case in wanted]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code, as `cube` does."""
    told = parser()
    args = told.parse_args(argv)
    if args.links_only and (images := IMAGES & {*args.cases}):
        told.error(f"--links-only makes no image, which {', '.join(sorted(images))} would")
    measure = measure_chain if args.chain else measure_builds
    return program.ended(partial(measure, args))


def measure_chain(args: argparse.Namespace) -> None:
    """Measure a chain that is there."""
    with tempfile.TemporaryDirectory(prefix="cube-bench-", dir=args.folder) as scratch:
        costs = chain_costs(Store(folder=args.chain), Path(scratch))
    figures = [figure(costs) for case, figure in SIZES.items() if case in args.cases]
    told = table.as_json(figures, costs, {}), table.markdown(figures, costs, {})
    show(*told, args, whole=True)


def measure_builds(args: argparse.Namespace) -> None:
    """Build in a copy of the project; what was measured is shown even if a case fails."""
    with folder(args.folder, keep=args.keep) as place, rewriter(args, place) as rewrite:
        copied = project.copy(place / "project", args.spec, image=args.os or "", rewrite=rewrite)
        bench = Bench(project=copied, links_only=args.links_only)
        whole = False
        try:
            begin(bench, args)
            for case in args.cases:
                if case != "full":
                    with log.step(f"Case {case}"):
                        CASES[case](bench)
            whole = True
        finally:
            told = (bench.figures, bench.costs, {**bench.host(), **evidence(args)})
            show(table.as_json(*told), table.markdown(*told), args, whole=whole)
            cleanup.clear(bench.project.work.machines)


def evidence(args: argparse.Namespace) -> dict[str, str]:
    """Say what is simulated, beside the figures."""
    return {"layers 2 and 3": "from stand-ins (simulated)"} if args.stand_in else {}


def begin(bench: Bench, args: argparse.Namespace) -> None:
    """Make what the other cases are measured against, or take it over."""
    if not args.build:
        with log.step("Case full"):
            bench.full()
        return
    with log.step(f"Taking over {args.build}"):
        bench.take_over(args.build)
    with log.step("Making the layers that it lacks"):
        bench.extend()


@contextlib.contextmanager
def rewriter(args: argparse.Namespace, place: Path) -> Iterator[Callable[[str], str]]:
    """Yield what makes of cube.toml the one that is measured."""
    if not args.stand_in:
        yield str
        return
    with standins.served(place / "stand-ins") as made:
        yield partial(standins.rewrite, values=made.values)


@contextlib.contextmanager
def folder(parent: Path, *, keep: bool) -> Iterator[Path]:
    """Yield a new folder, and remove it afterwards unless something is mounted in it."""
    made = Path(tempfile.mkdtemp(prefix="cube-bench-", dir=parent)).resolve()
    try:
        yield made
    finally:
        if keep or str(made) in Path("/proc/self/mounts").read_text():
            log.info(f"the copy stays: {made}")
        else:
            shutil.rmtree(made)


def show(data: dict[str, Any], markdown: str, args: argparse.Namespace, *, whole: bool) -> None:
    """Print both forms; write the one for programs to a file, and add it to a page, if wanted.

    The page stays that of the last whole run.
    """
    text = json.dumps(data, indent=2) + "\n"
    if args.output:
        args.output.write_text(text)
    if args.page and whole:
        page.add(args.page, "chain", data)
    sys.stdout.write(f"{markdown}\n\n```json\n{text}```\n")


if __name__ == "__main__":
    sys.exit(main())
