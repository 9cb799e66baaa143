"""`cube stack` and its verbs."""

import argparse
from dataclasses import asdict
from pathlib import Path

from cube.build import stack_gate
from cube.chain.store.table import aligned
from cube.cli.chain import add_verb
from cube.cli.options import Commands, add
from cube.cli.output import tell
from cube.config import Spec, ca_files, proxy_environment
from cube.runtime import log
from cube.runtime.errors import StackError
from cube.stack import profile, rules, table
from cube.stack.choice import Choice, Finding
from cube.stack.wheels import gate, resolve
from cube.supply import trust
from cube.supply.wheel_index.upstream import Upstream

SHOW = "show the stack that was chosen, and what is known about it"


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the group."""
    group = add(commands, "stack", cmd_show, SHOW, image="--os")
    verbs = group.add_subparsers(dest="verb", metavar="VERB", title="verbs (default: show)")
    add_verb(verbs, "show", cmd_show, SHOW)
    add_verb(verbs, "check", cmd_check, "prove that the stack can work, by rules and locks")
    add_verb(verbs, "gpus", cmd_gpus, "list the GPU models that the table knows")
    command = add_verb(verbs, "lock", cmd_lock, "make the locks of a profile anew")
    command.add_argument(
        "profile",
        nargs="?",
        default="",
        metavar="PROFILE",
        help="a shipped one or a folder; default: stack.profile",
    )
    command.add_argument("--framework", default="", metavar="NAME", help="only this one's")
    command = add_verb(
        verbs, "wheels", cmd_wheels, "read from the locked wheels which GPUs they are built for"
    )
    command.add_argument("--wheel", type=Path, metavar="FILE", help="a wheel on the disk instead")


def sentences(found: list[Finding]) -> list[str]:
    """Return findings as lines."""
    words = {"refusal": "no", "warning": "note"}
    return [f"{words[one.level]}: {one.text}" for one in found]


def cmd_show(args: argparse.Namespace, spec: Spec) -> int:
    """Show the chosen profile as a table, and what the rules say."""
    choice, chosen = stack_gate.choice_of(spec), profile.load(spec.stack.profile)
    found = rules.judge(choice)
    rows = [
        ["profile", f"{chosen.name}: {chosen.summary}"],
        ["GPUs", f"{spec.gpu.count} x {spec.gpu.model}, gpu.mode = {spec.gpu.mode}"],
        ["system", f"{spec.image.os}, packages from {spec.stack.source}"],
        ["driver", f"at least {chosen.driver}, branch {chosen.branch}, {chosen.modules} modules"],
        ["CUDA", f"toolkit {chosen.cuda}, cuDNN {chosen.cudnn}"],
        ["containers", f"container toolkit {chosen.container_toolkit}"],
        *(
            [one.name, f"{one.version}, CUDA {one.cuda or 'none'}, {one.disk_mib} MiB"]
            for one in choice.wanted
        ),
        ["applied", stack_gate.decided(spec)],
    ]
    data: dict[str, object] = {
        "profile": chosen.model_dump(mode="json"),
        "gpu": spec.gpu.model,
        "os": spec.image.os,
        "source": spec.stack.source,
        "frameworks": [one.name for one in choice.wanted],
        "applied": stack_gate.decided(spec),
        "findings": [asdict(one) for one in found],
    }
    tell(args.view, "stack", data, "\n".join([*aligned(rows), *sentences(found)]))
    return 0


def cmd_check(args: argparse.Namespace, spec: Spec) -> int:
    """Prove the stack, or say why it cannot work and what would."""
    choice = stack_gate.choice_of(spec)
    found = rules.judge(choice)
    problems = stack_gate.examine(spec)
    advice = rules.nearest(choice) if rules.refusals(choice) else None
    data: dict[str, object] = {
        "works": not problems,
        "problems": problems,
        "findings": [asdict(one) for one in found],
        "nearest": advice.changes if advice else None,
    }
    verdict = [] if problems else [f"{choice.profile.name} drives {choice.gpu} on {choice.os}"]
    notes = sentences([one for one in found if one.level == "warning"])
    tell(args.view, "stack-check", data, "\n".join([*notes, *verdict]))
    if problems:
        raise StackError(
            f"{len(problems)} things keep {choice.profile.name} from {choice.gpu}: {problems[0]}",
            hint=f"nearest set that works: {advice}" if advice else "put them right",
            details="\n".join(problems[1:]),
        )
    return 0


def cmd_gpus(args: argparse.Namespace, spec: Spec) -> int:  # noqa: ARG001 (one signature)
    """List the GPU models."""
    known = table.load()
    rows = [["MODEL", "NAME", "PCI ID", "ARCHITECTURE", "SM", "MEMORY", "DRIVER"]]
    for name, row in known.gpu.items():
        least = row.driver or known.architecture[row.architecture].driver
        ids = " ".join(f"10de:{one}" for one in row.pci)
        memory = f"{row.memory_mib} MiB"
        rows.append([name, row.title, ids, row.architecture, row.sm, memory, f"{least}+"])
    data: dict[str, object] = {
        "gpus": {name: row.model_dump(mode="json") for name, row in known.gpu.items()}
    }
    tell(args.view, "gpus", data, "\n".join(aligned(rows)))
    return 0


def cmd_lock(args: argparse.Namespace, spec: Spec) -> int:
    """Make locks anew."""
    chosen = profile.load(folder_or_name(args.profile) or spec.stack.profile)
    names = [args.framework] if args.framework else list(chosen.frameworks)
    with log.step(f"Locking {', '.join(names)} of {chosen.name}"), trust.bundle(spec) as bundle:
        # Source: uv, "Environment variables".
        trusted = {"SSL_CERT_FILE": str(bundle)} if bundle else {}
        env = {**proxy_environment(spec), **trusted}
        made = resolve.lock(chosen, names, index=spec.network.pypi_index, env=env)
    tell(args.view, "stack-lock", {"locks": list(map(str, made))}, "\n".join(map(str, made)))
    return 0


def folder_or_name(word: str) -> str:
    """Return an absolute folder for a path, a name as it is."""
    return str(Path(word).absolute()) if "/" in word or word == "." else word


def cmd_wheels(args: argparse.Namespace, spec: Spec) -> int:
    """Look into the wheels; refuse where the target's code is missing."""
    choice = stack_gate.choice_of(spec)
    if unknown := rules.unknown_rows(choice):
        raise StackError(unknown[0].text, hint="cube stack gpus lists them")
    looks = [gate.look_local(choice, args.wheel)] if args.wheel else look_all(choice, spec)
    lines = [one.sentence(choice) for one in looks]
    data: dict[str, object] = {"gpu": choice.gpu, "wheels": [one.as_json() for one in looks]}
    tell(args.view, "stack-wheels", data, "\n".join(lines))
    lacking = [one for one in looks if not one.covered and one.package not in gate.OPTIONAL]
    if lacking:
        raise StackError(
            f"{lacking[0].sentence(choice)}",
            hint="choose a version that is built for it: cube stack check",
            details="\n".join(one.sentence(choice) for one in lacking[1:]),
        )
    return 0


def look_all(choice: Choice, spec: Spec) -> list[gate.Look]:
    """Look into every locked wheel that has GPU code."""
    index, found = spec.network.pypi_index or resolve.public_index(), []
    source = Upstream(index, spec.network.proxy, ca_files(spec))
    for package, framework in gate.packages(choice).items():
        with log.step(f"Reading {package}'s wheel"):
            found.append(gate.look_remote(choice, package, framework, source))
    return found
