"""What is compared: our commands and their peers, each with its settings, and what each changed."""

import json
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import equality, playbook
from bench.playbook import MITOGEN, PIPELINING
from bench.timing import Runs, Timing, timed
from cube.config import Spec
from cube.machines import Endpoint, ssh
from cube.runtime import log, run
from cube.runtime.errors import CubeError

BIN = Path(sys.executable).parent
STOCK = ("--data", "cube_shell=false", "--data", "cube_nodelay=false")
INSTALL = (
    "export DEBIAN_FRONTEND=noninteractive; apt-get -q update"
    " && apt-get -y -q --no-install-recommends install"
)
#: Arguments, environment, standard input.
Command = tuple[list[str], dict[str, str], str]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Hosts that are up, and what a command for all of them needs."""

    folder: Path  #: for what commands leave
    spec: Spec  #: ours
    venv: Path  #: Ansible's
    ways: Mapping[str, Endpoint] = field(default_factory=dict)  #: to each host, by name
    book: str = "site.yml"  #: Ansible's playbook

    def write(self, name: str, text: str) -> str:
        """Write a file that lists the hosts; return its path."""
        (self.folder / name).write_text(text)
        return str(self.folder / name)


@dataclass(frozen=True)
class Variant:
    """A tool with its settings."""

    label: str  #: in a table
    build: Callable[[Site], Command]  #: makes the command for hosts
    #: Reads from the output how much was changed on hosts, and that none was left out.
    changes: Callable[[str, Collection[str]], int] = lambda *_: 0


def cube_apply(site: Site) -> Command:
    """Build our command for hosts of cube.toml."""
    argv = [str(BIN / "cube"), "apply", *site.ways, "--no-checks", "--json"]
    return [*argv, "--jobs", str(len(site.ways)), "--spec", str(site.spec.file)], {}, ""


def applied_changes(output: str, hosts: Collection[str]) -> int:
    """Read the last record of `cube apply`: `applied` of one host, `hosts` of several."""
    records = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    ended = [one for one in records if one["kind"] in {"applied", "hosts"}][-1:]
    layers = {one["box"]: one["layers"] for last in ended for one in last.get("hosts", [last])}
    done = {name for name, some in layers.items() if any(one["operations"] for one in some)}
    if done != {*hosts}:
        raise CubeError("cube apply left a host out", details=run.tail(output))
    return sum(len(one["changed"]) for some in layers.values() for one in some)


def pyinfra(site: Site, *, options: tuple[str, ...] = ()) -> Command:
    """Build the command of pyinfra itself."""
    described = [
        {"name": name, "endpoint": asdict(access), "building": False}
        for name, access in site.ways.items()
    ]
    listed = site.write("hosts.json", json.dumps(described, default=str))
    places = {"CUBE_MACHINE": listed, "CUBE_SPEC": str(site.spec.file), "PYINFRA_PROGRESS": "off"}
    argv = [str(BIN / "pyinfra"), "-y", "--no-wait", "--parallel", str(len(site.ways)), *options]
    return [*argv, "inventory.py", "deploy/site.py"], places, ""


def pyinfra_changes(output: str, hosts: Collection[str]) -> int:
    """Read the last line of pyinfra's table: operations, changed; and the lines of each host."""
    total = re.search(r"Grand total +\d+ +(\d+|-)", output)
    told = {*re.findall(r"\[(\S+)\] (?:Success|No changes)", output)}
    if not total or not {*hosts} <= told:
        raise CubeError("pyinfra printed no summary, or left a host out", details=run.tail(output))
    return int(total[1].replace("-", "0"))


def ansible(site: Site, *, settings: Mapping[str, str], subset: str = "min") -> Command:
    """Build the peer's command: a fork for each host, some subset of the facts."""
    inventory = site.write("inventory.yml", playbook.inventory(site.ways, site.spec))
    argv = [str(site.venv / "bin/ansible-playbook"), "--inventory", inventory, "--extra-vars"]
    argv += [json.dumps({"fact_subset": [subset]}), "--forks", str(len(site.ways))]
    environment = playbook.environment(settings, site.folder, site.venv)
    return [*argv, str(playbook.FOLDER / site.book)], environment, ""


def ansible_changes(output: str, hosts: Collection[str]) -> int:
    """Read Ansible's recap of each host."""
    found = re.findall(r"ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", output)
    if len(found) != len(hosts) or any(bad != "0" for _, *more in found for bad in more):
        raise CubeError("Ansible's recap lacks a host, or one failed", details=run.tail(output))
    return sum(int(changed) for changed, *_ in found)


def script(site: Site, *, upgrade: bool = False) -> Command:
    """Build the command of the one script."""
    (access,) = site.ways.values()
    return login(access, "sudo bash -s"), {}, equality.script(trees=False, upgrade=upgrade)


def apt(site: Site) -> Command:
    """Build the command that installs what the playbook does in one call, and nothing else."""
    (access,) = site.ways.values()
    lists = (some for name, some in playbook.variables(site.spec).items() if "_packages" in name)
    line = f"{INSTALL} {run.quote(sorted(set().union(*lists)))}"
    return login(access, f"sudo sh -c {ssh.quote(line)}"), {}, ""


def apt_changes(output: str, _: Collection[str]) -> int:
    """Count the packages that were set up."""
    return len(re.findall(r"^Setting up ", output, re.MULTILINE))


def logins(site: Site) -> Command:
    """Build the command that logs in to all at once; it fails if one lets nobody in."""
    each = [f'{run.quote(login(way, "true"))} & all="$all $!"' for way in site.ways.values()]
    line = "; ".join([*each, "for one in $all; do wait $one || exit 1; done"])
    return ["sh", "-c", line], {}, ""


def login(access: Endpoint, remote: str) -> list[str]:
    """Build a command that runs another one on a host."""
    program, *more = ssh.ssh_args(access)
    return [program, "-o", "LogLevel=ERROR", *more, remote]


def peer(label: str, settings: Mapping[str, str], subset: str = "min") -> Variant:
    """Return Ansible with its settings."""
    return Variant(label, partial(ansible, settings=settings, subset=subset), ansible_changes)


VARIANTS = {
    "cube": Variant("Vault Cube", pyinfra, pyinfra_changes),
    "cube-stock": Variant(
        "Vault Cube, stock connection", partial(pyinfra, options=STOCK), pyinfra_changes
    ),
    "mitogen": peer("Ansible, mitogen", MITOGEN),
    "pipelining": peer("Ansible, pipelining + ControlPersist", PIPELINING),
    "plain": peer("Ansible, as installed", {}, subset="all"),
    "apt": Variant("the limit: apt-get alone, the packages in one call", apt, apt_changes),
    "script": Variant("the limit: one script over SSH", script),
    "start": Variant(
        "our own limit: pyinfra started, nothing done",
        lambda _: ([str(BIN / "pyinfra"), "--version"], {}, ""),
    ),
    "script-upgrade": Variant(
        "one script, apt's plan of an upgrade made anew", partial(script, upgrade=True)
    ),
}
#: Those that leave a state, each on a box of its own.
WORKERS = ("cube", "cube-stock", "mitogen", "pipelining", "plain")
#: For many hosts, by label.
ON_HOSTS = {
    one.label: one
    for one in (
        Variant("cube apply", cube_apply, applied_changes),
        Variant("pyinfra -y --no-wait", pyinfra, pyinfra_changes),
        VARIANTS["mitogen"],
        VARIANTS["pipelining"],
        Variant("the limit: OpenSSH's login to each host", logins),
    )
}


def apply(variant: Variant, site: Site) -> tuple[Timing, int]:
    """Run a variant once; return its time, and how much it changed."""
    argv, environment, stdin = variant.build(site)
    done = timed(argv, env=environment, stdin=stdin)
    return done, variant.changes(done.output, site.ways)


def measure(runs: Runs, key: tuple[Any, ...], variant: Variant, site: Site, *, idle: bool) -> None:
    """Run a variant once, and add it to the runs; refuse a change when idle, none when not."""
    done, changed = apply(variant, site)
    words = ", ".join(map(str, key))
    if (changed > 0) == idle:
        raise CubeError(f"{words}: {changed} changes were made")
    log.info(f"{words}: {done.seconds:.2f} s")
    runs[key].append(done)
