"""What is compared: our commands and their peers, each with its settings, and what each changed."""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import equality, playbook
from bench.boxes import Box
from bench.measure import timed
from cube.config import Spec
from cube.machines import Endpoint, ssh
from cube.runtime import run
from cube.runtime.errors import CubeError

BIN = Path(sys.executable).parent
#: Connections that stay open, without compression on a way that needs none.
#: Source: Ansible's guide, "Controlling how Ansible connects", ssh_args and pipelining.
PIPELINING = {
    "ANSIBLE_PIPELINING": "1",
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=600s",
    "ANSIBLE_GATHERING": "smart",
    "ANSIBLE_CACHE_PLUGIN": "jsonfile",
}
#: Source: mitogen's documentation, "Ansible plugin"; its folder is added by `ansible_settings`.
MITOGEN = {**PIPELINING, "ANSIBLE_STRATEGY": "mitogen_linear"}
STOCK = ("--data", "cube_shell=false", "--data", "cube_nodelay=false")
#: Source: ansible-playbook's recap.
RECAP = re.compile(r"ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends install"
Command = tuple[list[str], dict[str, str], str]


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What commands need: a folder for what they leave, Ansible's venv, our specification."""

    folder: Path
    venv: Path
    spec: Spec


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A tool with its settings.

    Args:
        label: in a table.
        build: makes argv, environment and standard input for a box.
        changes: reads from the output how much was changed; None for what changes nothing.
        environment: variables that make it what it is.
        subset: of the facts that Ansible gathers.
        options: more words of our command.
        upgrade: whether the one script has apt plan an upgrade, too.
    """

    label: str
    build: "Callable[[Variant, Box, int, Shop], Command]"
    changes: Callable[[str], int] | None
    environment: Mapping[str, str] = field(default_factory=dict)
    subset: str = "min"
    options: tuple[str, ...] = ()
    upgrade: bool = False


def cube(variant: Variant, box: Box, delay_ms: int, shop: Shop) -> Command:
    """Build our command: pyinfra's own command line."""
    file = box.folder / f"machine-{delay_ms}.json"
    described = {"name": box.name, "endpoint": asdict(box.ways[delay_ms]), "building": False}
    file.write_text(json.dumps(described, default=str))
    argv = [str(BIN / "pyinfra"), "-y", *variant.options, "inventory.py", "deploy/site.py"]
    places = {"CUBE_MACHINE": str(file), "CUBE_SPEC": str(shop.spec.file)}
    return argv, {**places, "PYINFRA_PROGRESS": "off"}, ""


def ansible(variant: Variant, box: Box, delay_ms: int, shop: Shop) -> Command:
    """Build the peer's command."""
    file = box.folder / f"inventory-{delay_ms}.yml"
    hosts = {box.name: box.ways[delay_ms]}
    file.write_text(playbook.inventory(hosts, playbook.variables(shop.spec)))
    argv = playbook.ansible_args(shop.venv, file, variant.subset)
    return argv, ansible_settings(variant, box.folder, shop.venv), ""


def ansible_settings(variant: Variant, folder: Path, venv: Path) -> dict[str, str]:
    """Return Ansible's variables, which also keep it to a folder."""
    strategies = venv.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy")
    return {
        **variant.environment,
        "ANSIBLE_STRATEGY_PLUGINS": ":".join(map(str, strategies)),
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "c"),
        "ANSIBLE_HOST_KEY_CHECKING": "0",  # each box is new, and known by its port only
        "PYTHONWARNINGS": "ignore",
    }


def script(variant: Variant, box: Box, delay_ms: int, shop: Shop) -> Command:  # noqa: ARG001
    """Build the command of the one script."""
    text = equality.script(trees=False, upgrade=variant.upgrade)
    return login(box.ways[delay_ms], "sudo bash -s"), {}, text


def start(variant: Variant, box: Box, delay_ms: int, shop: Shop) -> Command:  # noqa: ARG001
    """Build the command that starts pyinfra, and nothing more."""
    return [str(BIN / "pyinfra"), "--version"], {}, ""


def apt(variant: Variant, box: Box, delay_ms: int, shop: Shop) -> Command:  # noqa: ARG001
    """Build the command that installs the packages of a box in one call, and nothing else."""
    line = f"apt-get -q update && {INSTALL} {run.quote(box.packages.split())}"
    return login(box.ways[delay_ms], f"sudo sh -c {ssh.quote(line)}"), {}, ""


def login(access: Endpoint, remote: str) -> list[str]:
    """Build a command that runs another one on a box."""
    program, *more = ssh.ssh_args(access)
    return [program, "-o", "LogLevel=ERROR", *more, remote]


def cube_changes(output: str) -> int:
    """Read the line "Grand total" of pyinfra's table: operations, changed, no change, errors."""
    for line in output.splitlines():
        if "Grand total" in line:
            cells = re.findall(r"(?:\d+|-)(?=\s|$)", line)
            return 0 if cells[1] == "-" else int(cells[1])
    raise CubeError("pyinfra printed no summary", details=run.tail(output))


def ansible_changes(output: str) -> int:
    """Read Ansible's recap."""
    found = RECAP.search(output)
    if not found or found[2] != "0" or found[3] != "0":
        raise CubeError("Ansible's recap is missing or bad", details=run.tail(output))
    return int(found[1])


def apt_changes(output: str) -> int:
    """Count the packages that were set up."""
    return len(re.findall(r"^Setting up ", output, re.MULTILINE))


VARIANTS = {
    "cube": Variant(label="Vault Cube", build=cube, changes=cube_changes),
    "cube-stock": Variant(label="Vault Cube, stock connection", build=cube, changes=cube_changes,
                          options=STOCK),
    "mitogen": Variant(label="Ansible, mitogen", build=ansible, changes=ansible_changes,
                       environment=MITOGEN),
    "pipelining": Variant(label="Ansible, pipelining + ControlPersist", build=ansible,
                          changes=ansible_changes, environment=PIPELINING),
    "plain": Variant(label="Ansible, as installed", build=ansible, changes=ansible_changes,
                     subset="all"),
    "apt": Variant(label="the limit: apt-get alone, the packages in one call", build=apt,
                   changes=apt_changes),
    "script": Variant(label="the limit: one script over SSH", build=script, changes=None),
    "start": Variant(label="our own limit: pyinfra started, nothing done", build=start,
                     changes=None),
    "script-upgrade": Variant(label="one script, apt's plan of an upgrade made anew",
                              build=script, changes=None, upgrade=True),
}  # fmt: skip
#: Those that leave a state, each on a box of its own.
WORKERS = ("cube", "cube-stock", "mitogen", "pipelining", "plain")


def apply(name: str, box: Box, delay_ms: int, shop: Shop) -> tuple[float, int | None]:
    """Run a variant once; return its seconds, and how much it changed."""
    variant = VARIANTS[name]
    argv, environment, stdin = variant.build(variant, box, delay_ms, shop)
    done = timed(argv, env=environment, stdin=stdin)
    return done.seconds, variant.changes(done.output) if variant.changes else None


def on_hosts(
    name: str, access: Mapping[str, Endpoint], inventory: Path, shop: Shop
) -> tuple[list[str], dict[str, str]]:
    """Build the command of a variant for many hosts at once: argv and environment."""
    hosts, count = list(access), str(len(access))
    if name == "cube apply":
        argv = [str(BIN / "cube"), "apply", *hosts, "--no-checks", "--json", "--jobs", count]
        return [*argv, "--spec", str(shop.spec.file)], {}
    if name == "pyinfra":
        limits = [word for host in hosts for word in ("--limit", host)]
        argv = [str(BIN / "pyinfra"), "-y", "--no-wait", "--parallel", count, *limits]
        return [*argv, "inventory.py", "deploy/site.py"], {"CUBE_SPEC": str(shop.spec.file)}
    if name == "login":
        each = [f'{run.quote(login(access[host], "true"))} & all="$all $!"' for host in hosts]
        return ["sh", "-c", "; ".join([*each, "for one in $all; do wait $one || exit 1; done"])], {}
    argv = playbook.ansible_args(shop.venv, inventory, VARIANTS[name].subset, "users.yml")
    argv += ["--forks", count, "--limit", ",".join(hosts)]
    return argv, ansible_settings(VARIANTS[name], shop.folder, shop.venv)


def still(name: str, output: str, hosts: Sequence[str]) -> bool:
    """Tell whether a command for many hosts did all of them, and changed nothing."""
    if name == "login":  # its exit code says that all of them let it in
        return True
    if name == "cube apply":
        told = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        ended = [one for one in told if one["kind"] in {"applied", "hosts"}][-1]
        each = [box["layers"] for box in ended.get("hosts", [ended])]
        return len(each) == len(hosts) and all(
            layers and not any(one["changed"] for one in layers) for layers in each
        )
    if name == "pyinfra":
        return all(f"[{host}] No changes" in output for host in hosts) and "] Success" not in output
    recaps = RECAP.findall(output)
    return len(recaps) == len(hosts) and set(recaps) == {("0", "0", "0")}
