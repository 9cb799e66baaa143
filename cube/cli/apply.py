"""`cube apply` and `cube drift`: layers on a box on the network, or on several."""

import argparse
from collections.abc import Sequence

from cube.cli import apply_many
from cube.cli.options import Commands, add
from cube.cli.output import tell
from cube.config import LAYER_ROLES, Spec
from cube.config.model import HARMS, Harm
from cube.config.values import parse_size_mib
from cube.hosts import apply, drift, plan, remote
from cube.hosts.apply import Outcome, Wanted
from cube.hosts.choice import choose, is_pattern
from cube.hosts.target import find
from cube.runtime.errors import DriftError

#: Of a command that works on one host, and of one that works on several.
ONE_HOST = "name of [hosts.NAME] in cube.toml, user@address[:port], or up (the machine of cube up)"
HOSTS = (
    "name of [hosts.NAME] in cube.toml or a pattern ('desk*'), user@address[:port], or up (the"
    " machine of cube up); several are worked on side by side"
)


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the group."""
    add_apply(commands)
    add_drift(commands)


def add_apply(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube apply`."""
    command = add(commands, "apply", cmd_apply, "apply layers to a live box", image="--os")
    add_box(command)
    command.add_argument(
        "--prove", action="store_true", help="apply each a second time: nothing may change"
    )
    command.add_argument(
        "--snapshot", action="store_true", help="take an LVM snapshot of the root before each"
    )
    command.add_argument(
        "--snapshot-size",
        type=size_mib,
        default=0,
        metavar="SIZE",
        help='room for changes in each, "4 GiB"; default: a fifth of the root, as far as it fits',
    )
    command.add_argument(
        "--reboot", action="store_true", help="restart the box, once a layer, when it needs that"
    )
    command.add_argument(
        "--no-checks", dest="checks", action="store_false", help="do not run the checks"
    )
    command.add_argument(
        "--plan",
        action="store_true",
        help="print what is on the host, what would change and what is refused; change nothing",
    )
    command.add_argument(
        "--allow",
        type=allow_list,
        default=(),
        metavar="WHAT",
        help=f"do what is refused otherwise: {', '.join(HARMS)} (several with commas);"
        " [apply] allow in cube.toml allows it always",
    )


def add_drift(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube drift`."""
    text = "say what differs between a box and the layers that it claims"
    command = add(commands, "drift", cmd_drift, text, image="--os")
    add_box(command)
    command.add_argument(
        "--no-checks",
        dest="checks",
        action="store_false",
        help="compare only; do not run the checks",
    )


def add_box(command: argparse.ArgumentParser) -> None:
    """Add what both commands ask for."""
    apply_many.add_choice(command, HOSTS)
    command.set_defaults(refuse=command.error)
    command.add_argument(
        "--layers",
        type=layer_list,
        default=(),
        metavar="1,5",
        help="default: those that are enabled, or claimed",
    )


def layer_list(word: str) -> tuple[int, ...]:
    """Accept numbers of layers, parted by commas.

    Raises:
        ArgumentTypeError: one is no layer's.
    """
    known = {str(layer): layer for layer in LAYER_ROLES}
    words = [part.strip().removeprefix("layer") for part in word.split(",")]
    if not set(words) <= known.keys():
        raise argparse.ArgumentTypeError(f"{word!r}: write numbers of layers, like 1,5")
    return tuple(known[part] for part in words)


def allow_list(word: str) -> tuple[Harm, ...]:
    """Accept words of ``[apply] allow``, parted by commas.

    Raises:
        ArgumentTypeError: one is none.
    """
    words = {part.strip() for part in word.split(",")}
    if not words <= set(HARMS):
        raise argparse.ArgumentTypeError(f"{word!r}: write {', '.join(HARMS)}")
    return tuple(harm for harm in HARMS if harm in words)


def size_mib(word: str) -> int:
    """Accept a size with its unit.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        return parse_size_mib(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def cmd_apply(args: argparse.Namespace, spec: Spec) -> int:
    """Apply layers and say what became of each."""
    wanted = Wanted(
        layers=args.layers,
        prove=args.prove,
        checks=args.checks,
        reboot=args.reboot,
        snapshot=args.snapshot or bool(args.snapshot_size),
        snapshot_mib=args.snapshot_size,
    )
    host = one_host(args)
    spec = allowing(spec, args.allow)
    if args.plan:
        return show_plans(args, spec, [host] if host else list(chosen(args, spec).values()))
    if not host:
        return apply_many.apply_to(args, spec, chosen(args, spec), wanted)
    box = remote.reach(find(spec, host))
    plan.guard(spec, box, wanted)
    outcomes = apply.apply(spec, box, wanted)
    data: dict[str, object] = {"box": box.name, "layers": [one.as_json() for one in outcomes]}
    tell(args.view, "applied", data, applied_text(box.name, outcomes))
    return 0


def allowing(spec: Spec, more: Sequence[Harm]) -> Spec:
    """Return a specification that allows more harms."""
    allow = (*spec.apply.allow, *more)
    return spec.model_copy(update={"apply": spec.apply.model_copy(update={"allow": allow})})


def show_plans(args: argparse.Namespace, spec: Spec, hosts: list[str]) -> int:
    """Print what an application would do, host by host.

    Raises:
        PlanError: an application would be refused.
    """
    refused = []
    for host in hosts:
        box = remote.reach(find(spec, host))
        made = plan.make(spec, box, args.layers)
        tell(args.view, "plan", {"box": box.name, **made.as_json()}, made.text(box.name))
        refused += [(box, made.refusals)] if made.refusals else []
    for box, refusals in refused:
        plan.refuse(box, refusals)
    return 0


def one_host(args: argparse.Namespace) -> str:
    """Return the host, if just one is named; empty when several may be meant.

    The command line is refused when none is named.
    """
    if not args.hosts and not args.every:
        args.refuse("name a HOST, or say --all")
    several = args.every or args.exclude or len(args.hosts) > 1 or is_pattern(args.hosts[0])
    return "" if several else str(args.hosts[0])


def chosen(args: argparse.Namespace, spec: Spec) -> dict[str, str]:
    """Return the words for the hosts that are meant, by their names."""
    return choose(spec, args.hosts, every=args.every, exclude=args.exclude)


def applied_text(name: str, outcomes: list[Outcome]) -> str:
    """Say what became of each layer, and whether a restart is due."""
    lines = [f"{name}:", *(f"  {one.summary}" for one in outcomes)]
    due = [one.restart for one in outcomes if not one.skipped][-1:]
    if due and due[0]:
        lines.append(f"  it needs a restart: {due[0]}")
    return "\n".join(lines)


def cmd_drift(args: argparse.Namespace, spec: Spec) -> int:
    """Compare a box with its layers.

    Raises:
        DriftError: they differ.
    """
    if not (host := one_host(args)):
        return apply_many.compare(args, spec, chosen(args, spec))
    box = remote.reach(find(spec, host))
    found = drift.compare(spec, box, args.layers, checks=args.checks)
    differing = [one for one in found if one.found]
    same = [f"layer {one.layer}: {one.summary}" for one in found if not one.found]
    data: dict[str, object] = {
        "box": box.name,
        "drift": bool(differing),
        "layers": [one.as_json() for one in found],
    }
    tell(args.view, "drift", data, "\n".join(same))
    if not differing:
        return 0
    names = " and ".join(f"layer {one.layer}" for one in differing)
    raise DriftError(
        f"{box.name} differs from what it claims: {names}",
        hint=f"restore it: cube apply {box.name} --layers"
        f" {','.join(str(one.layer) for one in differing)}",
        details="\n".join(line for one in differing for line in one.lines()),
    )
