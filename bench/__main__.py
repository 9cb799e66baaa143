"""Measure the pipeline, and print a section of docs/bench.md: see bench/README.md."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import chain, hosts, page, seal, speed
from cube.cli import command_line
from cube.runtime import log

BENCHMARKS = {"speed": speed, "hosts": hosts, "seal": seal, "chain": chain}
#: Where disks of some gigabytes are made: /tmp is memory on many systems.
#: Source: Filesystem Hierarchy Standard 3.0, 5.15.
LARGE = Path("/var/tmp")  # noqa: S108 (new folders with random names)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark in a new folder; return its exit code, errors printed as by `cube`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True, metavar="BENCHMARK")
    for name, module in BENCHMARKS.items():
        text = page.SECTIONS[name]
        one = commands.add_parser(name, help=text, description=module.__doc__)
        one.add_argument("--folder", type=Path, default=LARGE, help="for disks (default: /var/tmp)")
        one.add_argument("--page", type=Path, help="write this page; data and plots lie beside it")
        module.add_options(one)
    args = parser.parse_args(argv)

    def measure() -> int:
        folder = Path(tempfile.mkdtemp(prefix="cube-bench-", dir=args.folder)).resolve()
        try:
            section = BENCHMARKS[args.name].measure(args, folder)
        finally:
            if str(folder) in Path("/proc/self/mounts").read_text():
                log.warning(f"{folder} stays: something is mounted in it")
            else:
                shutil.rmtree(folder)
        page.publish(args.name, section, args.page)
        return 0

    return command_line.ended(measure, "plain")


if __name__ == "__main__":
    sys.exit(main())
