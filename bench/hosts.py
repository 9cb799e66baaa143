#!/usr/bin/env python3
"""What many hosts cost: `cube apply` that changes nothing on 1, 10 and 50 of them, as ratios.

The hosts are root file systems of their own (overlays of one small Debian) with processes, a name
and an address of loopback each, on this machine: they share its processors with what is
measured, and they have no systemd, so the layer is made of the role `users` alone. Your own
hosts are measured with --spec. Run it as root; it needs mmdebstrap, or a tree.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# As a program (python bench/hosts.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import page, program
from bench.hosts_table import COMMANDS, Run, as_json, section
from cube import bootstrap, log, run, spec, ssh
from cube.errors import CubeError
from tests.integration import fleet

PROJECT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
LAYER = 'enabled = [1]\nlayer1 = ["users"]'
PACKAGES = "openssh-server,sudo,python3"
TIMEOUT_S = 1800.0


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    told = argparse.ArgumentParser(prog="bench/hosts.py", description=__doc__)
    told.add_argument("--counts", type=counts, default=[1, 10, 50], metavar="N,...",
                      help="numbers of hosts, 1 first (default: 1,10,50)")  # fmt: skip
    told.add_argument("--runs", type=int, default=3, metavar="N",
                      help="runs of each, in turns (default: %(default)s)")  # fmt: skip
    told.add_argument("--tree", type=Path, metavar="DIR",
                      help="a root file system with sshd; default: one is made")  # fmt: skip
    told.add_argument("--spec", type=Path, metavar="FILE",
                      help="measure the hosts and layers of this cube.toml")  # fmt: skip
    told.add_argument("--output", type=Path, metavar="FILE", help="write the JSON there too")
    told.add_argument("--page", type=Path, metavar="FILE", help="add it to this page of figures")
    return told


def counts(words: str) -> list[int]:
    """Read numbers of hosts; all are measured against one.

    Raises:
        ArgumentTypeError: they are none.
    """
    if not all(word.isdecimal() and int(word) for word in words.split(",")):
        raise argparse.ArgumentTypeError(f"{words!r}: write numbers, like 1,10,50")
    return sorted({1, *map(int, words.split(","))})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code, as `cube` does."""
    args = parser().parse_args(argv)
    return program.ended(partial(measure_hosts, args))


def measure_hosts(args: argparse.Namespace) -> None:
    """Bring hosts up, measure, and tell."""
    with (
        tempfile.TemporaryDirectory(prefix="cube-bench-") as folder,
        hosts_up(args, Path(folder)) as (file, names),
    ):
        done = measure(file, names, args.counts, args.runs)
    report(as_json(done, stand_ins=args.spec is None), args)


@contextlib.contextmanager
def hosts_up(args: argparse.Namespace, folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a cube.toml and the names of the hosts that it lists; they are up."""
    if args.spec:
        yield args.spec.absolute(), list(spec.load(args.spec).hosts)
        return
    tree = args.tree or make_tree(folder / "tree")
    key = folder / "id_ed25519"
    public = ssh.make_key(key)
    text = (PROJECT / "cube.toml").read_text()
    text = text.replace('dir = "build"', f'dir = "{folder}/build"')
    text = text.replace("enabled = [1, 2, 3, 4, 5]", LAYER)
    with fleet.fleet(tree, folder / "hosts", public) as started:
        for _ in range(max(args.counts)):
            started.start()
        file = folder / "cube.toml"
        file.write_text(text + fleet.hosts_table(started.nodes, key))
        yield file, [node.name for node in started.nodes]


def make_tree(tree: Path) -> Path:
    """Make a small root file system."""
    with log.step("Making a root file system"):
        run.run(
            ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
             f"--include={PACKAGES}", bootstrap.SUITE, tree],
            timeout_s=TIMEOUT_S,
        )  # fmt: skip
    return tree


def measure(file: Path, names: list[str], numbers: list[int], runs: int) -> list[Run]:
    """Apply once, which may change something, then measure runs that must not.

    Raises:
        CubeError: there are too few hosts, or a run changed something or failed.
    """
    if len(names) < max(numbers):
        raise CubeError(f"{file} lists {len(names)} hosts, {max(numbers)} were asked for")
    with log.step(f"Applying to {max(numbers)} hosts"):
        started(apply_args(file, names[: max(numbers)]), file)
    done = []
    for _ in range(runs):
        for number in numbers:
            done += [measured(command, file, names[:number]) for command in COMMANDS]
    return done


def apply_args(file: Path, names: list[str]) -> list[str]:
    """Build the command for hosts: all of them at once."""
    return [str(BIN / "cube"), "apply", *names, "--no-checks", "--json", "--spec", str(file),
            "--jobs", str(len(names))]  # fmt: skip


def pyinfra_args(names: list[str]) -> list[str]:
    """Build pyinfra's own command for hosts."""
    limits = [word for name in names for word in ("--limit", name)]
    return [str(BIN / "pyinfra"), "-y", "--no-wait", "--parallel", str(len(names)), *limits,
            "inventory.py", "deploy/site.py"]  # fmt: skip


def measured(command: str, file: Path, names: list[str]) -> Run:
    """Measure one run.

    Raises:
        CubeError: it failed, or changed something.
    """
    argv = apply_args(file, names) if command == "cube" else pyinfra_args(names)
    load, before, start = os.getloadavg()[0], os.times(), time.monotonic()
    output = started(argv, file)
    seconds, after = time.monotonic() - start, os.times()
    require_unchanged(command, output, names)
    cpu_s = (after.children_user + after.children_system
             - before.children_user - before.children_system)  # fmt: skip
    log.info(f"{command}, {len(names)} hosts: {seconds:.1f} s, {cpu_s:.1f} s of processor time")
    return Run(command=command, hosts=len(names), seconds=seconds, cpu_s=cpu_s, load=load)


def started(argv: list[str], file: Path) -> str:
    """Run a command to its end; return what it printed.

    Raises:
        CommandError: it failed.
    """
    env = {"CUBE_SPEC": str(file)}
    done = run.run(argv, timeout_s=TIMEOUT_S, env=env, cwd=PROJECT)
    return done.stdout + done.stderr


def require_unchanged(command: str, output: str, names: list[str]) -> None:
    """Refuse a run that was no no-op on every host.

    Raises:
        CubeError: it changed something, or left a host out.
    """
    if command == "pyinfra":
        still = all(f"[{name}] No changes" in output for name in names)
        good = still and "] Success" not in output
    else:
        told = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        ended = [one for one in told if one["kind"] in {"applied", "hosts"}][-1]
        boxes = ended.get("hosts", [ended])
        layers = [layer for box in boxes for layer in box["layers"]]
        good = len(boxes) == len(names) and bool(layers) and not any(
            layer["changed"] for layer in layers
        )  # fmt: skip
    if not good:
        raise CubeError(f"{command} on {len(names)} hosts was no run without a change",
                        details=run.tail(output))  # fmt: skip


def report(data: dict[str, Any], args: argparse.Namespace) -> None:
    """Print the figures as a table and as JSON; write them where they are wanted."""
    print(section(data))  # noqa: T201
    print(json.dumps(data, indent=2))  # noqa: T201
    if args.output:
        args.output.write_text(json.dumps(data, indent=2) + "\n")
    if args.page:
        page.add(args.page, "hosts", data)


if __name__ == "__main__":
    sys.exit(main())
