"""What many hosts cost: a run that changes nothing on 1, 10 and 50 of them, ours and Ansible's.

The hosts are overlays of one small Debian with processes, a name and an address of loopback each,
on this machine: they share its processors with what is measured, and they have no systemd, so the
layer is made of the role `users` alone. Your own hosts are measured with --spec, without Ansible.
"""

import argparse
import contextlib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench import options, playbook, speed, tools
from bench.page import Section, Target
from bench.timing import PROJECT, Runs, turns
from bench.tools import ON_HOSTS, Site
from cube import config
from cube.baseimage.debian import bootstrap
from cube.hosts import target
from cube.machines import Endpoint, ssh
from cube.runtime import log, run
from cube.runtime.errors import CubeError
from tests.integration import fleet

OURS = list(ON_HOSTS)[:2]
INCLUDE = "--include=openssh-server,sudo,python3"
HEAD = """The same role with nothing to change, all hosts at once (Ansible: a fork for each).
Seconds: median (least-most, runs); processor time is that of the command and its children."""
STAND_INS = """The hosts are root file systems with an sshd on this machine, whose processors they
share; they have no systemd, so the layer is four operations."""
LIMIT = "a host more costs OpenSSH's login (the limit above); the hosts share the processors"


@contextlib.contextmanager
def stand_ins(count: int, tree: Path | None, folder: Path) -> Iterator[Site]:
    """Start hosts; yield what commands for them need."""
    file, key, known = (folder / name for name in ("cube.toml", "id_ed25519", "known_hosts"))
    public = ssh.make_key(key)
    if not tree:
        tree = folder / "tree"
        argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
        with log.step("Making a root file system"):
            run.run([*argv, INCLUDE, "trixie", tree], timeout_s=bootstrap.TIMEOUT_S)
    with fleet.fleet(tree, folder / "hosts", public) as started:
        for _ in range(count):
            started.start()
        text = speed.SPEC.format(key=public, folder=folder, roles='layer1 = ["users"]')
        file.write_text(text + fleet.hosts_table(started.nodes, key))
        ways = {
            one.name: Endpoint(
                host=one.address, port=one.port, user=fleet.USER, key_file=key, known_hosts=known
            )
            for one in started.nodes
        }
        venv = playbook.make_venv(PROJECT / "build/bench/ansible")
        yield Site(folder=folder, spec=config.load(file), venv=venv, ways=ways, book="users.yml")


def measured(site: Site, labels: Sequence[str], counts: Sequence[int], rounds: int) -> Runs:
    """Run all commands in turns; each once before on all hosts, which is no figure."""
    if len(site.ways) < max(counts):
        hint = "give other numbers of hosts with --counts"
        raise CubeError(f"{site.spec.file} has {len(site.ways)} hosts", hint=hint)
    runs = Runs()
    for label in labels:
        tools.apply(ON_HOSTS[label], site)
    for count in counts:
        some = replace(site, ways=dict(list(site.ways.items())[:count]))
        for label in turns(labels, rounds):
            tools.measure(runs, (label, count), ON_HOSTS[label], some, idle=True)
    return runs


def section(runs: Runs, text: str) -> Section:
    """Return the runs as a section of the page."""
    made = Section(text=text, host=runs.where(), ours=OURS)
    counts = sorted({count for _, count in runs})
    least, most = counts[0], counts[-1]
    labels = [label for label in ON_HOSTS if (label, most) in runs]
    made.add("", (row(runs, label, count, least) for label in labels for count in counts))
    made.judge(
        Target(
            f"{label}, {most} hosts against {least}",
            4,  # the most hosts take at most so many times as long as one
            runs.ratio([label, most], [label, least]),
            limit=LIMIT,
        )
        for label in OURS
    )
    made.plots[f"Nothing to do on {most} hosts"] = {
        label: runs.seconds(label, most) for label in labels
    }
    return made


def row(runs: Runs, label: str, count: int, least: int) -> dict[str, str]:
    """Return the row of a command and a number of hosts."""
    cpu_s = statistics.median(one.cpu_s for one in runs[label, count])
    return {
        "command": label,
        "hosts": str(count),
        "seconds": runs.spread(label, count),
        "ratio to the fewest hosts": f"{runs.ratio([label, count], [label, least]):.1f}",
        "processor time, s": f"{cpu_s:.1f}",
        "a host, s": f"{cpu_s / count:.2f}",
    }


def add_options(made: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = made.add_argument
    add("--counts", type=options.numbers, default=[1, 10, 50], help="numbers of hosts")
    add("--runs", type=int, default=3, help="runs of each, in turns")
    add("--tree", type=Path, help="a root file system with sshd; default: a new one")
    add("--spec", type=Path, help="measure the hosts and layers of this cube.toml")


def measure(args: argparse.Namespace, folder: Path) -> Section:
    """Start hosts or take those of cube.toml, and measure."""
    if args.spec:
        spec = config.load(args.spec)
        ways = {name: target.find(spec, name).endpoint for name in spec.hosts}
        own = Site(folder=folder, spec=spec, venv=folder, ways=ways)
        return section(measured(own, OURS, args.counts, args.runs), HEAD)
    with stand_ins(max(args.counts), args.tree, folder) as site:
        runs = measured(site, list(ON_HOSTS), args.counts, args.runs)
    return section(runs, f"{HEAD} {STAND_INS}")
