"""`cube apply` and `cube drift` on several hosts at once, with a summary by host."""

import argparse
import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from cube.cli.output import tell
from cube.config import Spec
from cube.hosts import apply, drift, plan, remote
from cube.hosts.apply import Outcome, Side, Wanted
from cube.hosts.drift import LayerDrift
from cube.hosts.fan_out import FanOut, Result
from cube.hosts.target import Box, find
from cube.provision.pyinfra_run import LAYER_TIMEOUT_S
from cube.provision.shared_run import shared_runs
from cube.runtime import log
from cube.runtime.errors import DriftError, HostsError, MachineError, ProvisionError
from cube.runtime.units import duration

T = TypeVar("T")
Work = Callable[[Box, Side], T]

#: Hosts at once. One that only waits costs a thread and a connection; ssh to all at once must
#: still answer within its time limit on a small machine.
JOBS = 32
#: Runs of checks at once, a processor: each is a process of pytest.
CHECKS_A_CPU = 2
SECONDS = {"s": 1, "min": 60, "h": 3600}


def add_choice(command: argparse.ArgumentParser, text: str) -> None:
    """Add how hosts are chosen and how they are worked on."""
    command.add_argument("hosts", nargs="*", metavar="HOST", help=text)
    command.add_argument("--all", dest="every", action="store_true", help="every host of cube.toml")
    command.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out those of a name or pattern; may be repeated",
    )
    command.add_argument(
        "--jobs", type=count, default=JOBS, metavar="N", help="hosts at once (default: %(default)s)"
    )
    command.add_argument(
        "--timeout",
        type=seconds,
        default=LAYER_TIMEOUT_S,
        metavar="TIME",
        help='of several hosts, one fails whose layer takes longer: "90 s",'
        ' "30 min", default "2 h"',
    )


def count(word: str) -> int:
    """Accept a number above zero.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,6}", word) or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r}: write a number, 1 or more")
    return int(word)


def seconds(word: str) -> float:
    """Accept a time with its unit.

    Raises:
        ArgumentTypeError: it is none.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,6}) ?(s|min|h)", word)
    if not found:
        raise argparse.ArgumentTypeError(f'{word!r}: write a time like "90 s", "30 min", "2 h"')
    return float(int(found[1]) * SECONDS[found[2]])


def apply_to(args: argparse.Namespace, spec: Spec, hosts: dict[str, str], wanted: Wanted) -> int:
    """Apply layers to several hosts.

    Raises:
        HostsError: one failed.
    """
    apply.choose_layers(spec, wanted.layers)

    def work(box: Box, side: Side) -> list[Outcome]:
        plan.guard(spec, box, wanted, side)
        return apply.apply(spec, box, wanted, side)

    results = work_on(args, spec, hosts, work, applied_line)
    refuse_failures(spec, "apply", results)
    return 0


def compare(args: argparse.Namespace, spec: Spec, hosts: dict[str, str]) -> int:
    """Compare several hosts with their layers.

    Raises:
        HostsError: one could not be compared.
        DriftError: one differs.
    """

    def work(box: Box, side: Side) -> list[LayerDrift]:
        return drift.compare(spec, box, args.layers, checks=args.checks, side=side)

    results = work_on(args, spec, hosts, work, drift_line)
    refuse_failures(spec, "drift", results)
    refuse_drift(results)
    return 0


def work_on(
    args: argparse.Namespace,
    spec: Spec,
    hosts: dict[str, str],
    work: Work[T],
    line: Callable[[T], str],
) -> list[Result[T]]:
    """Work on hosts side by side, and tell the summary, also when it is interrupted.

    Args:
        args: of the command line.
        spec: the specification.
        hosts: the word for each, by name.
        work: what is done for one.
        line: says in a few words what became of one.
    """
    slots = threading.BoundedSemaphore(CHECKS_A_CPU * (os.cpu_count() or 1))
    with (
        shared_runs(limit_s=args.timeout) as pool,
        tempfile.TemporaryDirectory(prefix="cube-ssh-", dir="/tmp") as sockets,
    ):
        side = Side(pool=pool, checking=slots)

        def work_there(word: str) -> T:
            with reached(spec, word, Path(sockets)) as box:
                return work(box, side)

        fan_out = FanOut(
            hosts,
            work_there,
            jobs=args.jobs,
            on_stop=pool.stop,
            log_of=lambda name: log_of(spec, args.command, name),
        )
        try:
            with log.step(f"cube {args.command} on {len(hosts)} hosts"):
                return fan_out.run()
        finally:
            results = fan_out.results()
            data: dict[str, object] = {"hosts": [as_json(one) for one in results]}
            tell(args.view, "hosts", data, summary(results, line))


@contextlib.contextmanager
def reached(spec: Spec, word: str, sockets: Path) -> Iterator[Box]:
    """Log in to a host; all commands of the block, pyinfra and the checks share the connection.

    When the work fails, another login says whether the host is the cause.

    Raises:
        MachineError: the host does not answer, or does not let us in.
    """
    folder = Path(tempfile.mkdtemp(dir=sockets))
    found = find(spec, word)
    box = remote.reach(replace(found, endpoint=replace(found.endpoint, sockets=folder)))
    try:
        yield box
    except ProvisionError as error:
        blame_login(box, error)
        raise
    finally:
        remote.hang_up(box)


def blame_login(box: Box, error: ProvisionError) -> None:
    """Log in to a host where a layer failed.

    Raises:
        MachineError: the login fails; its details say what failed before.
    """
    remote.hang_up(box)
    try:
        remote.execute(box, "true")
    except MachineError as refused:
        refused.details = "\n".join(filter(None, [error.message, error.details]))
        raise refused from error


def log_of(spec: Spec, command: str, name: str) -> Path:
    """Return the log of a host."""
    return spec.build.dir / "boxes" / name / f"{command}.log"


def summary(results: Sequence[Result[T]], line: Callable[[T], str]) -> str:
    """Return a line for each host: its state, how long it took, what became of it."""
    width = max(len(one.name) for one in results)
    rows = []
    for one in results:
        text = line(one.value) if one.value is not None else ""
        text = one.error.message if one.error else text
        state = "FAILED" if one.error else one.state
        took = duration(one.seconds)
        rows.append(f"{one.name:{width}}  {state:6}  {took:>12}  {text}".rstrip())
    return "\n".join(rows)


def applied_line(outcomes: list[Outcome]) -> str:
    """Say in one line what became of the layers."""
    told = []
    for one in outcomes:
        changed = f"{len(one.changed)} of {one.operations} changed"
        text = changed if one.changed else "nothing changed"
        checks = f", checks: {one.checks}" if one.checks else ""
        told.append(f"layer {one.layer}: {'skipped' if one.skipped else text + checks}")
    due = [one.restart for one in outcomes if not one.skipped][-1:]
    return "; ".join([*told, *(f"needs a restart: {reason}" for reason in due if reason)])


def drift_line(found: list[LayerDrift]) -> str:
    """Say in one line how layers differ."""
    return "; ".join(
        f"layer {one.layer}: " + (f"DRIFT, {len(one.lines())} lines" if one.found else "no drift")
        for one in found
    )


def as_json(one: Result[Any]) -> dict[str, object]:
    """Return a result for a program."""
    told: dict[str, object] = {
        "box": one.name,
        "state": one.state,
        "seconds": round(one.seconds, 1),
        "layers": [layer.as_json() for layer in one.value or []],
    }
    if one.error:
        told["error"] = {
            "error": type(one.error).__name__,
            "exit_code": one.error.exit_code,
            "text": one.error.message,
            "hint": one.error.hint,
            "details": one.error.details,
        }
    return told


def refuse_failures(spec: Spec, command: str, results: Sequence[Result[Any]]) -> None:
    """End with an error if a host failed.

    Raises:
        HostsError: one did; the summary has named the reasons.
    """
    failed = [one.name for one in results if one.error]
    if failed:
        raise HostsError(
            f"{len(failed)} of {len(results)} hosts failed: {', '.join(failed)}",
            hint=f"the lines above say why, {log_of(spec, command, 'HOST')} has all of it; then"
            f" once more: cube {command} {' '.join(failed)}",
        )


def refuse_drift(results: Sequence[Result[list[LayerDrift]]]) -> None:
    """End with an error if a host differs.

    Raises:
        DriftError: one does; the details say in what.
    """
    lines = {
        one.name: [line for layer in one.value or [] if layer.found for line in layer.lines()]
        for one in results
    }
    differing = [name for name, told in lines.items() if told]
    if differing:
        raise DriftError(
            f"{len(differing)} of {len(results)} hosts differ from what they claim:"
            f" {', '.join(differing)}",
            hint=f"restore them: cube apply {' '.join(differing)}",
            details="\n".join(f"{name}: {line}" for name in differing for line in lines[name]),
        )
