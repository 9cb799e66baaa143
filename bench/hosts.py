#!/usr/bin/env python3
"""What many hosts cost: a run that changes nothing on 1, 10 and 50 of them, ours and Ansible's.

The hosts are overlays of one small Debian with processes, a name and an address of loopback each,
on this machine: they share its processors with what is measured, and they have no systemd, so the
layer is made of the role `users` alone. Your own hosts are measured with --spec, without Ansible.
"""

import argparse
import contextlib
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# As a program (python bench/hosts.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import measure, page, playbook, speed, tools
from bench.measure import PROJECT, turns
from bench.page import Section, Target
from bench.tools import Shop
from cube import config
from cube.baseimage.debian import bootstrap
from cube.machines import Endpoint, ssh
from cube.runtime import log, run
from cube.runtime.errors import CubeError
from tests.integration import fleet

PACKAGES = "openssh-server,sudo,python3"
LABELS = {
    "cube apply": "cube apply",
    "pyinfra": "pyinfra -y --no-wait",
    "mitogen": "Ansible, mitogen",
    "pipelining": "Ansible, pipelining + ControlPersist",
    "login": "the limit: OpenSSH's login to each host",
}
OURS = ["cube apply", "pyinfra"]
HEAD = """The same role with nothing to change, all hosts at once (Ansible: a fork for each).
Seconds: median (least-most, runs); processor time is that of the command and its children."""
STAND_INS = """The hosts are root file systems with an sshd on this machine, whose processors they
share; they have no systemd, so the layer is four operations."""
#: The most hosts take at most so many times as long as one.
BOUND = 4
LIMIT = "a host more costs OpenSSH's login (the limit above); the hosts share the processors"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a command for so many hosts."""

    command: str
    hosts: int
    seconds: float
    cpu_s: float
    load: float


@dataclass(frozen=True, kw_only=True)
class Site:
    """Hosts that are up: the way to each, what lists them for Ansible, and what commands need."""

    access: Mapping[str, Endpoint]
    inventory: Path
    shop: Shop


@contextlib.contextmanager
def stand_ins(count: int, tree: Path | None, folder: Path) -> Iterator[Site]:
    """Start hosts; yield what lists them."""
    key = folder / "id_ed25519"
    public = ssh.make_key(key)
    with fleet.fleet(tree or make_tree(folder / "tree"), folder / "hosts", public) as started:
        for _ in range(count):
            started.start()
        file, inventory = folder / "cube.toml", folder / "inventory.yml"
        text = speed.SPEC.format(key=public, folder=folder, roles='layer1 = ["users"]')
        file.write_text(text + fleet.hosts_table(started.nodes, key))
        known = folder / "known_hosts"
        access = {
            one.name: Endpoint(
                host=one.address, port=one.port, user=fleet.USER, key_file=key, known_hosts=known
            )
            for one in started.nodes
        }
        venv = playbook.venv(PROJECT / "build/bench/ansible")
        shop = Shop(folder=folder, venv=venv, spec=config.load(file))
        inventory.write_text(playbook.inventory(access, playbook.variables(shop.spec)))
        yield Site(access=access, inventory=inventory, shop=shop)


def make_tree(tree: Path) -> Path:
    """Make a small root file system."""
    with log.step("Making a root file system"):
        argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
        run.run([*argv, f"--include={PACKAGES}", "trixie", tree], timeout_s=bootstrap.TIMEOUT_S)
    return tree


def measured(site: Site, names: Sequence[str], counts: Sequence[int], rounds: int) -> list[Run]:
    """Run all commands in turns; each once before on all hosts, which is no figure."""
    hosts = list(site.access)
    for name in names:
        once(site, name, hosts, proven=False)
    return [
        once(site, name, hosts[:count])
        for count in counts
        for order in turns(names, rounds)
        for name in order
    ]


def once(site: Site, name: str, hosts: Sequence[str], *, proven: bool = True) -> Run:
    """Run a command once for hosts."""
    access = {host: site.access[host] for host in hosts}
    argv, environment = tools.on_hosts(name, access, site.inventory, site.shop)
    done = measure.timed(argv, env=environment)
    if proven and not tools.still(name, done.output, hosts):
        details = run.tail(done.output)
        raise CubeError(
            f"{name} changed something on {len(hosts)} hosts, or left one out", details=details
        )
    log.info(f"{name}, {len(hosts)} hosts: {done.seconds:.1f} s, {done.cpu_s:.1f} s of processor")
    return Run(
        command=name, hosts=len(hosts), seconds=done.seconds, cpu_s=done.cpu_s, load=done.load
    )


def section(runs: Sequence[Run], text: str) -> Section:
    """Return the runs as a section of the page."""
    made = Section(text=text, host=measure.host(), load=[one.load for one in runs])
    made.ours = [LABELS[name] for name in OURS]
    rows = [["command", "hosts", "seconds", "ratio to one host", "processor time, s", "a host, s"]]
    counts, targets = sorted({one.hosts for one in runs}), []
    for name in (one for one in LABELS if one in {done.command for done in runs}):
        for count in counts:
            some = [one for one in runs if (one.command, one.hosts) == (name, count)]
            alone = [one.seconds for one in runs if (one.command, one.hosts) == (name, counts[0])]
            times = [one.seconds for one in some]
            cpu_s = statistics.median(one.cpu_s for one in some)
            ratio = measure.ratio(times, alone) or 0
            rows.append(
                [
                    LABELS[name],
                    str(count),
                    measure.spread(times),
                    f"{ratio:.1f}",
                    f"{cpu_s:.1f}",
                    f"{cpu_s / count:.2f}",
                ]
            )
        if name in OURS:
            what = f"{LABELS[name]}, {counts[-1]} hosts against {counts[0]}"
            targets.append(Target(what=what, bound=BOUND, value=ratio, limit=LIMIT))
        made.plots.setdefault(f"Nothing to do on {counts[-1]} hosts", {})[LABELS[name]] = times
    made.tables[""] = rows
    made.judge(targets)
    made.runs = [asdict(one) for one in runs]
    return made


def measure_hosts(args: argparse.Namespace, folder: Path) -> None:
    """Start hosts or take those of cube.toml, measure, and publish."""
    if args.spec:
        loaded = config.load(args.spec)
        shop = Shop(folder=folder, venv=folder, spec=loaded)
        # The names are all that our own commands need.
        access = {
            name: Endpoint(host=name, port=22, user="", key_file=folder, known_hosts=folder)
            for name in loaded.hosts
        }
        site = Site(access=access, inventory=folder, shop=shop)
        page.publish(
            "hosts", section(measured(site, OURS, args.counts, args.runs), HEAD), args.page
        )
        return
    with stand_ins(max(args.counts), args.tree, folder) as site:
        runs = measured(site, list(LABELS), args.counts, args.runs)
    page.publish("hosts", section(runs, f"{HEAD} {STAND_INS}"), args.page)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code, as `cube` does."""
    made = page.parser(__doc__)
    made.add_argument("--counts", type=page.numbers, default=[1, 10, 50], help="numbers of hosts")
    made.add_argument("--runs", type=int, default=3, help="runs of each, in turns")
    made.add_argument("--tree", type=Path, help="a root file system with sshd; default: a new one")
    made.add_argument("--spec", type=Path, help="measure the hosts and layers of this cube.toml")
    return page.run(made.parse_args(argv), measure_hosts)


if __name__ == "__main__":
    sys.exit(main())
