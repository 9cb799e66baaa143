"""One application of layer 1 by one variant, timed from its command to its end."""

import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.peers import playbook
from bench.peers.box import STATE, Box, state_command
from bench.peers.variants import Variant
from bench.peers.wanted import wanted as look
from cube.config import Spec
from cube.machines import ssh
from cube.runtime import run
from cube.runtime.errors import CubeError

#: The checkout that is measured.
SOURCE = Path(__file__).resolve().parents[2]
#: In a box's folder: the packages that apt alone installs there.
PACKAGES = "packages"
#: Seconds for one application.
LIMIT_S = 1800
#: Source: ansible-playbook's recap.
RECAP = re.compile(r"ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What an application took, in seconds, and how much it changed; None: it does not say."""

    seconds: float
    changed: int | None


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What applications need.

    Args:
        folder: for what they leave.
        venv: of Ansible.
        spec: our specification, with its file.
    """

    folder: Path
    venv: Path
    spec: Spec


def apply(variant: Variant, box: Box, delay_ms: int, shop: Workshop) -> Applied:
    """Apply layer 1 once.

    Raises:
        CubeError: it failed.
    """
    argv, more, stdin = BUILDERS[variant.tool](variant, box, delay_ms, shop)
    environment = {**more, **variables(variant, box.folder, shop.venv)}
    started = time.monotonic()
    done = run.run(
        argv, timeout_s=LIMIT_S, env=environment, cwd=SOURCE, stdin=stdin, accept=range(256)
    )
    seconds = time.monotonic() - started
    if done.returncode != 0:
        raise CubeError(
            f"{variant.label} on {box.name} ended with {done.returncode}",
            details=run.tail(done.stdout + done.stderr, 40),
        )
    return Applied(seconds=seconds, changed=COUNTERS[variant.tool](done))


def variables(variant: Variant, folder: Path, venv: Path) -> dict[str, str]:
    """Return a variant's environment, its folders put in."""
    places = {"STRATEGIES": str(playbook.strategy_plugins(venv))}
    own = {name: places.get(value, value) for name, value in variant.environment.items()}
    return own | (ansible_places(folder) if variant.tool == "ansible" else {})


def ansible_places(folder: Path) -> dict[str, str]:
    """Return the variables that keep Ansible to a folder."""
    return {
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "c"),
        "PYTHONWARNINGS": "ignore",
        # Each box is new, and known by nothing but its port.
        "ANSIBLE_HOST_KEY_CHECKING": "0",
    }


Command = tuple[list[str], dict[str, str], str]


def cube_command(variant: Variant, box: Box, delay_ms: int, shop: Workshop) -> Command:
    """Build our command: pyinfra's own command line."""
    file = box.folder / f"machine-{delay_ms}.json"
    access = asdict(box.endpoints[delay_ms])
    described = {"name": box.name, "endpoint": access, "building": False}
    file.write_text(json.dumps(described, default=str))
    argv = [str(Path(sys.executable).with_name("pyinfra")), "-y"]
    environment = {"CUBE_MACHINE": str(file), "CUBE_SPEC": str(shop.spec.file)}
    return (
        [*argv, *variant.options, "inventory.py", "deploy/site.py"],
        {**environment, "PYINFRA_PROGRESS": "off"},
        "",
    )


def ansible_command(variant: Variant, box: Box, delay_ms: int, shop: Workshop) -> Command:
    """Build the peer's command."""
    file = box.folder / f"inventory-{delay_ms}.yml"
    hosts = {box.name: box.endpoints[delay_ms]}
    file.write_text(playbook.inventory(hosts, playbook.variables(shop.spec)))
    return playbook.ansible_args(shop.venv, file, variant.subset), {}, ""


def script_command(variant: Variant, box: Box, delay_ms: int, shop: Workshop) -> Command:
    """Build the command of the one script."""
    wanted = look(shop.spec, trees=False, upgrade=variant.upgrade)
    program, *access = ssh.ssh_args(box.endpoints[delay_ms])
    argv = [program, "-o", "LogLevel=ERROR", *access, state_command(wanted)]
    return argv, {}, STATE.read_text()


def start_command(variant: Variant, box: Box, delay_ms: int, shop: Workshop) -> Command:  # noqa: ARG001
    """Build the command that starts pyinfra, and nothing more."""
    return [str(Path(sys.executable).with_name("pyinfra")), "--version"], {}, ""


def note_packages(made: Box, box: Box) -> None:
    """Note in a box's folder which packages another one was told to have."""
    found = ssh.execute(made.machine.endpoint, "apt-mark showmanual").stdout
    (box.folder / PACKAGES).write_text(found)


def apt_command(variant: Variant, box: Box, delay_ms: int, shop: Workshop) -> Command:  # noqa: ARG001
    """Build the command that installs what `note_packages` has noted, and does nothing else."""
    names = (box.folder / PACKAGES).read_text().split()
    install = "DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends install"
    script = f"apt-get -q update && {install} {run.quote(names)}"
    program, *access = ssh.ssh_args(box.endpoints[delay_ms])
    return [program, "-o", "LogLevel=ERROR", *access, f"sudo sh -c {ssh.quote(script)}"], {}, ""


def apt_changed(done: run.Completed) -> int | None:
    """Count the packages that were set up."""
    return len(re.findall(r"^Setting up ", done.stdout, re.MULTILINE))


def start_changed(done: run.Completed) -> int | None:
    """Believe that it started; it changes nothing.

    Raises:
        CubeError: it said nothing of itself.
    """
    if "pyinfra" not in done.stdout:
        raise CubeError("pyinfra --version said nothing of itself", details=run.tail(done.stderr))
    return None


def cube_changed(done: run.Completed) -> int | None:
    """Count what pyinfra's summary says that it changed.

    Raises:
        CubeError: there is no summary.
    """
    return count_summary(done.stdout + done.stderr)


def count_summary(text: str) -> int:
    """Read the line "Grand total" of pyinfra's table: operations, changed, no change, errors.

    Raises:
        CubeError: there is none.
    """
    for line in text.splitlines():
        if "Grand total" in line:
            cells = re.findall(r"(?:\d+|-)(?=\s|$)", line)
            return 0 if cells[1] == "-" else int(cells[1])
    raise CubeError("pyinfra printed no summary", details=run.tail(text))


def ansible_changed(done: run.Completed) -> int | None:
    """Count what Ansible's recap says that it changed.

    Raises:
        CubeError: there is no recap, or it tells a failure.
    """
    found = RECAP.search(done.stdout)
    if not found or found[2] != "0" or found[3] != "0":
        raise CubeError("Ansible's recap is missing or bad", details=run.tail(done.stdout))
    return int(found[1])


def script_changed(done: run.Completed) -> int | None:
    """Believe that the script looked at something; it changes nothing.

    Raises:
        CubeError: it did not.
    """
    state: dict[str, Any] = json.loads(done.stdout)
    if not state["packages"] or not state["units"]:
        raise CubeError("the one script saw no packages or no units")
    return None


BUILDERS = {
    "cube": cube_command, "ansible": ansible_command, "script": script_command,
    "start": start_command, "apt": apt_command,
}  # fmt: skip
COUNTERS = {
    "cube": cube_changed, "ansible": ansible_changed, "script": script_changed,
    "start": start_changed, "apt": apt_changed,
}  # fmt: skip
