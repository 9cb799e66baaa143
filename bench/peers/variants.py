"""What is compared: our site and its peers, each with its settings. One line adds one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Tool = Literal["cube", "ansible", "script", "start", "apt"]

#: Of those that change something, each has a box of its own.
WORKERS: tuple[Tool, ...] = ("cube", "ansible")
#: The limit of a first application: the packages, and nothing else. It has no state to compare.
APT: Tool = "apt"

#: Connections that stay open, without compression on a way that needs none.
#: Source: Ansible's guide, "Controlling how Ansible connects", ssh_args and pipelining.
PIPELINING = {
    "ANSIBLE_PIPELINING": "1",
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=600s",
    "ANSIBLE_GATHERING": "smart",
    "ANSIBLE_CACHE_PLUGIN": "jsonfile",
}
#: Source: mitogen's documentation, "Ansible plugin", installation. `STRATEGIES` is put in.
MITOGEN = {
    **PIPELINING,
    "ANSIBLE_STRATEGY": "mitogen_linear",
    "ANSIBLE_STRATEGY_PLUGINS": "STRATEGIES",
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A tool with its settings.

    Args:
        name: of the variant, for programs.
        label: in a table.
        tool: how it is run.
        environment: variables that make it what it is.
        subset: of the facts that Ansible gathers.
        options: more words of our command.
        upgrade: whether the one script has apt plan an upgrade, too.
        switch: a word of ours that must be in the sources, or the variant is left out:
            with a switch that nothing reads it would be another one by name only.
    """

    name: str
    label: str
    tool: Tool
    environment: Mapping[str, str] = field(default_factory=dict)
    subset: str = "min"
    options: tuple[str, ...] = ()
    upgrade: bool = False
    switch: str = ""


VARIANTS = (
    Variant(name="cube", label="Vault Cube", tool="cube"),
    Variant(
        name="cube-stock", label="Vault Cube, stock connection", tool="cube",
        options=("--data", "cube_shell=false", "--data", "cube_nodelay=false"),
        switch="cube_shell",
    ),
    Variant(name="mitogen", label="Ansible, mitogen", tool="ansible", environment=MITOGEN),
    Variant(
        name="pipelining", label="Ansible, pipelining + ControlPersist", tool="ansible",
        environment=PIPELINING,
    ),
    Variant(name="plain", label="Ansible, as installed", tool="ansible", subset="all"),
    Variant(name="apt", label="the limit: apt-get alone, the packages in one call", tool=APT),
    Variant(name="script", label="the limit: one script over SSH", tool="script"),
    Variant(name="start", label="our own limit: pyinfra started, nothing done", tool="start"),
    Variant(
        name="script-upgrade", label="one script, apt's plan of an upgrade made anew",
        tool="script", upgrade=True,
    ),
)  # fmt: skip

BY_NAME = {variant.name: variant for variant in VARIANTS}


def available(names: Sequence[str], source: Path) -> tuple[list[str], dict[str, str]]:
    """Return the variants that can be told apart here, and why the others cannot.

    Args:
        names: those that are wanted.
        source: the checkout.
    """
    missing = {
        BY_NAME[name].label: f"no source reads {BY_NAME[name].switch}"
        for name in names
        if BY_NAME[name].switch and not reads(source, BY_NAME[name].switch)
    }
    return [name for name in names if BY_NAME[name].label not in missing], missing


def reads(source: Path, switch: str) -> bool:
    """Say whether our sources name a variable."""
    files = (
        file for folder in ("cube", "deploy", "guest") for file in (source / folder).rglob("*.py")
    )
    return any(switch in file.read_text() for file in files)
