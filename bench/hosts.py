#!/usr/bin/env python3
"""What many hosts cost: a run that changes nothing on 1, 10 and 50 of them, ours and Ansible's.

The hosts are root file systems of their own (overlays of one small Debian) with processes, a name
and an address of loopback each, on this machine: they share its processors with what is
measured, and they have no systemd, so the layer is made of the role `users` alone. Your own
hosts are measured with --spec, without Ansible. Run it as root; it needs mmdebstrap, or a tree.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# As a program (python bench/hosts.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import hosts_commands, page, program
from bench.hosts_commands import PROJECT, Peer, Site, require_unchanged
from bench.hosts_table import Run, as_json, markdown
from bench.peers import base, playbook
from cube import config
from cube.baseimage.debian import bootstrap
from cube.machines import Endpoint, ssh
from cube.runtime import log, run
from cube.runtime.errors import CubeError
from tests.integration import fleet

#: Where Ansible is installed.
CACHE = PROJECT / "build/bench"
PACKAGES = "openssh-server,sudo,python3"
TIMEOUT_S = 1800.0
#: What hosts without systemd can take.
ROLES = 'layer1 = ["users"]'


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
        tempfile.TemporaryDirectory(prefix="cube-bench-", dir=program.LARGE) as folder,
        hosts_up(args, Path(folder)) as site,
    ):
        done = measure(site, args.counts, args.runs)
    report(as_json(done, stand_ins=args.spec is None), args)


@contextlib.contextmanager
def hosts_up(args: argparse.Namespace, folder: Path) -> Iterator[Site]:
    """Yield hosts that are up, and what lists them."""
    if args.spec:
        yield Site(file=args.spec.absolute(), names=list(config.load(args.spec).hosts))
        return
    tree = args.tree or make_tree(folder / "tree")
    key = folder / "id_ed25519"
    public = ssh.make_key(key)
    with fleet.fleet(tree, folder / "hosts", public) as started:
        for _ in range(max(args.counts)):
            started.start()
        file = folder / "cube.toml"
        text = base.SPEC.format(key=public, folder=folder, roles=ROLES)
        file.write_text(text + fleet.hosts_table(started.nodes, key))
        peer = make_peer(started.nodes, config.load(file), key, folder)
        yield Site(file=file, names=[node.name for node in started.nodes], peer=peer)


def make_peer(nodes: Sequence[fleet.Node], loaded: config.Spec, key: Path, folder: Path) -> Peer:
    """Make Ansible ready for hosts."""
    access = {
        node.name: Endpoint(
            host=node.address, port=node.port, user=fleet.USER, key_file=key,
            known_hosts=folder / "known_hosts",
        )
        for node in nodes
    }  # fmt: skip
    made = Peer(
        venv=playbook.venv(CACHE / "ansible"), inventory=folder / "inventory.yml", folder=folder,
        access=access,
    )  # fmt: skip
    made.inventory.write_text(playbook.inventory(access, playbook.variables(loaded)))
    return made


def make_tree(tree: Path) -> Path:
    """Make a small root file system."""
    with log.step("Making a root file system"):
        run.run(
            ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
             f"--include={PACKAGES}", bootstrap.SUITE, tree],
            timeout_s=TIMEOUT_S,
        )  # fmt: skip
    return tree


def measure(site: Site, numbers: list[int], runs: int) -> list[Run]:
    """Apply once, which may change something, then measure runs that must not.

    Raises:
        CubeError: there are too few hosts, or a run changed something or failed.
    """
    if len(site.names) < max(numbers):
        raise CubeError(f"{site.file} lists {len(site.names)} hosts, {max(numbers)} were asked for")
    for command in site.commands:  # the peers open connections, which then stay
        with log.step(f"Applying to {max(numbers)} hosts by {command}"):
            started(*hosts_commands.command(command, site, site.names[: max(numbers)]))
    done = []
    for _ in range(runs):
        for number in numbers:
            done += [measured(command, site, site.names[:number]) for command in site.commands]
    return done


def measured(command: str, site: Site, names: Sequence[str]) -> Run:
    """Measure one run.

    Raises:
        CubeError: it failed, or changed something.
    """
    argv, env = hosts_commands.command(command, site, names)
    load, before, start = os.getloadavg()[0], os.times(), time.monotonic()
    output = started(argv, env)
    seconds, after = time.monotonic() - start, os.times()
    require_unchanged(command, output, names)
    cpu_s = (after.children_user + after.children_system
             - before.children_user - before.children_system)  # fmt: skip
    log.info(f"{command}, {len(names)} hosts: {seconds:.1f} s, {cpu_s:.1f} s of processor time")
    return Run(command=command, hosts=len(names), seconds=seconds, cpu_s=cpu_s, load=load)


def started(argv: list[str], env: Mapping[str, str]) -> str:
    """Run a command to its end; return what it printed.

    Raises:
        CommandError: it failed.
    """
    done = run.run(argv, timeout_s=TIMEOUT_S, env=dict(env), cwd=PROJECT)
    return done.stdout + done.stderr


def report(data: dict[str, Any], args: argparse.Namespace) -> None:
    """Print the figures as a table and as JSON; write them where they are wanted."""
    print(markdown(data["figures"]))  # noqa: T201
    print(json.dumps(data, indent=2))  # noqa: T201
    if args.output:
        args.output.write_text(json.dumps(data, indent=2) + "\n")
    if args.page:
        page.add(args.page, "hosts", data)


if __name__ == "__main__":
    sys.exit(main())
