"""What is run on many hosts: our commands and the peer's, and how a run proves itself a no-op."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import application, playbook
from bench.peers.variants import BY_NAME
from cube.machines import Endpoint, ssh
from cube.runtime import run
from cube.runtime.errors import CubeError

#: The limit: a login a host, and nothing done there.
LOGIN = "login"
PROJECT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Ansible, made ready for the hosts.

    Args:
        venv: where it is installed.
        inventory: its file of all hosts.
        folder: for what it leaves.
        access: the way to each host.
    """

    venv: Path
    inventory: Path
    folder: Path
    access: Mapping[str, Endpoint]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Hosts that are up.

    Args:
        file: the cube.toml that lists them.
        names: of the hosts.
        peer: None where only our own commands are measured.
    """

    file: Path
    names: Sequence[str]
    peer: Peer | None = None

    @property
    def commands(self) -> list[str]:
        """Names of what is run on them."""
        return ["cube", "pyinfra", *(["mitogen", "pipelining", LOGIN] if self.peer else [])]


Command = tuple[list[str], dict[str, str]]


def cube_command(site: Site, names: Sequence[str]) -> Command:
    """Build our command for hosts: all of them at once."""
    argv = [str(BIN / "cube"), "apply", *names, "--no-checks", "--json", "--spec", str(site.file),
            "--jobs", str(len(names))]  # fmt: skip
    return argv, {}


def pyinfra_command(site: Site, names: Sequence[str]) -> Command:
    """Build pyinfra's own command for hosts."""
    limits = [word for name in names for word in ("--limit", name)]
    argv = [str(BIN / "pyinfra"), "-y", "--no-wait", "--parallel", str(len(names)), *limits,
            "inventory.py", "deploy/site.py"]  # fmt: skip
    return argv, {"CUBE_SPEC": str(site.file)}


def ansible_command(name: str, peer: Peer, names: Sequence[str]) -> Command:
    """Build the peer's command for hosts: as many processes as hosts."""
    variant = BY_NAME[name]
    argv = playbook.ansible_args(peer.venv, peer.inventory, variant.subset, "users.yml")
    settings = application.variables(variant, peer.folder, peer.venv)
    return [*argv, "--forks", str(len(names)), "--limit", ",".join(names)], settings


def login_command(access: Mapping[str, Endpoint], names: Sequence[str]) -> Command:
    """Build what every tool that begins with OpenSSH's login takes at least: that, at once."""
    logins = [
        f'{run.quote([*ssh.ssh_args(access[name]), "true"])} & all="$all $!"' for name in names
    ]
    return ["sh", "-c", "; ".join([*logins, "for one in $all; do wait $one || exit 1; done"])], {}


def command(name: str, site: Site, names: Sequence[str]) -> Command:
    """Build a command for hosts, and its variables."""
    if name == "cube":
        return cube_command(site, names)
    if name == "pyinfra" or site.peer is None:
        return pyinfra_command(site, names)
    if name == LOGIN:
        return login_command(site.peer.access, names)
    return ansible_command(name, site.peer, names)


def cube_still(output: str, names: Sequence[str]) -> bool:
    """Tell whether `cube apply` did all hosts, and changed nothing."""
    told = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    ended = [one for one in told if one["kind"] in {"applied", "hosts"}][-1]
    boxes = ended.get("hosts", [ended])
    layers = [layer for box in boxes for layer in box["layers"]]
    return len(boxes) == len(names) and bool(layers) and not any(one["changed"] for one in layers)


def pyinfra_still(output: str, names: Sequence[str]) -> bool:
    """Tell whether pyinfra did all hosts, and changed nothing."""
    return all(f"[{name}] No changes" in output for name in names) and "] Success" not in output


def ansible_still(output: str, names: Sequence[str]) -> bool:
    """Tell whether Ansible did all hosts, and changed nothing."""
    recaps = application.RECAP.findall(output)
    return len(recaps) == len(names) and set(recaps) == {("0", "0", "0")}


STILL: Mapping[str, Callable[[str, Sequence[str]], bool]] = {
    "cube": cube_still, "pyinfra": pyinfra_still,
    "mitogen": ansible_still, "pipelining": ansible_still,
    LOGIN: lambda _, __: True,  # its exit code says that all let it in
}  # fmt: skip


def require_unchanged(name: str, output: str, names: Sequence[str]) -> None:
    """Refuse a run that was no no-op on every host.

    Raises:
        CubeError: it changed something, or left a host out.
    """
    if not STILL[name](output, names):
        raise CubeError(f"{name} on {len(names)} hosts was no run without a change",
                        details=run.tail(output))  # fmt: skip
