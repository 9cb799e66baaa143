"""`cube rollback`: of the chain, or of a box."""

import argparse

from cube.chain.rollback import Rollback, rollback
from cube.chain.store.links import Store
from cube.cli.options import Commands, add
from cube.cli.output import tell
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.hosts.rollback import rollback as rollback_box
from cube.runtime import lock

TEXT = "make another link the head, or take layers of a box back"
TARGET = (
    "LINK is base, layer1 ..., or the beginning of a key; with a HOST, the box's root goes back"
    " to a snapshot of 'cube apply --snapshot'"
)


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "rollback", cmd_rollback, TEXT, image="--os")
    command.set_defaults(refuse=command.error)
    command.usage = "cube rollback [-h] [--os IMAGE] [--spec FILE] [--json | --plain] [HOST] LINK"
    command.add_argument("target", nargs="+", metavar="[HOST] LINK", help=TARGET)


def cmd_rollback(args: argparse.Namespace, spec: Spec) -> int:
    """Move the head of the chain, or merge a snapshot into a box's root."""
    *hosts, link = args.target
    if len(hosts) > 1:
        args.refuse("say LINK, or HOST and LINK: cube rollback desk1 layer1")
    if hosts:
        restored = rollback_box(spec, hosts[0], link)
        tell(args.view, "restored", restored.as_json(), restored.summary())
        return 0
    work = Workspace.of(spec)
    with lock.held(work.root / "lock"):
        done = rollback(Store(folder=work.chain), link)
    tell(args.view, "rollback", done.as_json(), summary(done))
    return 0


def summary(done: Rollback) -> str:
    """Say what became of the links, and what can be done now."""
    head, aside = done.head, [link for link in done.aside if not link.skipped]
    back = [link.name for link in done.back if not link.skipped]
    lines = [f"the head is {head.name} {head.short}"]
    if back:
        lines.append(f"back in use: {', '.join(back)}")
    if aside:
        names = ", ".join(link.name for link in aside)
        lines.append(f"set aside: {names}; cube build makes them anew")
        lines.append(f"take them back: cube rollback {aside[-1].short}")
    lines.append("look at it: cube up, cube ssh")
    return "\n".join(lines)
