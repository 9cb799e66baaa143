"""Apply layers to a machine or a box with pyinfra, and believe only what its events show.

pyinfra runs as a program: importing it patches the whole process (gevent).
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from cube.config import Spec
from cube.machines import Endpoint
from cube.provision import file_diff
from cube.provision.pyinfra_events import Journal, title
from cube.runtime import run
from cube.runtime.errors import CommandError, ProvisionError
from cube.runtime.units import counted

PROJECT = Path(__file__).resolve().parents[2]

#: A layer's longest run; a slow mirror takes minutes, not hours. In seconds.
LAYER_TIMEOUT_S = 2 * 3600
OFFLINE_TIMEOUT_S = 120

#: Characters of a command that fit into a message.
COMMAND_WIDTH = 160

HINT = "correct it, then run cube build again: it goes on from the last good layer"


class Pool(Protocol):
    """Runs pyinfra for many machines at once; `cube.provision.shared_run` has one."""

    def run(
        self,
        layer: int,
        env: Mapping[str, str],
        folder: Path,
        *,
        timeout_s: float,
        dry: bool = False,
        diff: bool = False,
    ) -> tuple[int, Journal]:
        """Do for one layer and host what `run_pyinfra` does; arguments and results are its."""
        ...


class Target(Protocol):
    """What layers are applied to: a machine of the pipeline, or a box."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def endpoint(self) -> Endpoint:
        """Where sshd answers."""
        ...


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What the application of a layer did.

    Args:
        layer: its number.
        operations: how many ended.
        changed: names of those that changed something, "role: name: command".
        diffs: what each of these changed in a file, line by line; empty where it does not say.
        execs: commands that its operations ran and facts that they asked.
        seconds: time spent in operations.
        skipped: why the layer has no operations here; empty when it has.
        reason: why it applies; empty when it always does.
        key: the one that the target notes; empty when it has none.
        answer: output of the last question; None when none was asked or answered.
    """

    layer: int
    operations: int = 0
    changed: tuple[str, ...] = ()
    diffs: tuple[str, ...] = ()
    execs: int = 0
    seconds: float = 0.0
    skipped: str = ""
    reason: str = ""
    key: str = ""
    answer: str | None = None


def apply(
    layer: int,
    target: Target,
    *,
    spec: Spec | None = None,
    key: str = "",
    building: bool = True,
    index: str = "",
    diff: bool = False,
    pool: Pool | None = None,
    run: Sequence[int] = (),
    ingredients: Mapping[str, Any] | None = None,
    question: str = "",
) -> Applied:
    """Apply a layer to what is up.

    Args:
        layer: 1 to 5.
        target: it is reached through its endpoint.
        spec: the specification; None is cube.toml.
        key: of the link in the making; the target notes it.
        building: False for a box, which gets nothing that only a build needs.
        index: package index that is asked instead of the specification's, this time.
        diff: True has operations say what they change in files.
        pool: does it, for one machine of many; None starts pyinfra for this one.
        run: the layers that are applied to it one after the other; what later ones load may
            begin with this one.
        ingredients: of the key of a layer on a box, without its parent: the box knows what is
            below the layer.
        question: a shell script that is run as root at the end; `Applied.answer` is its output.

    Returns:
        What was done; `skipped` says why a layer does not apply to this machine.

    Raises:
        ProvisionError: an operation failed, or did not prove that it ended. On a box it also names
            what was changed before that.
    """
    data: dict[str, object] = {"pypi_index": index} if index else {}
    if run:
        data["run"] = list(run)
    if ingredients:
        data["layer_ingredients"] = {str(layer): ingredients}
    if question:
        data["last_question"] = question
    with described(target, spec, keys={str(layer): key}, building=building, data=data) as (
        folder,
        env,
    ):
        code, journal = run_layer(
            layer, env, folder, timeout_s=LAYER_TIMEOUT_S, diff=diff, pool=pool
        )
    try:
        return judge(layer, code, journal)
    except ProvisionError as error:
        if not building:
            error.details = "\n".join(filter(None, [error.details, journal.left()]))
        raise


def prove_idempotent(
    layer: int,
    target: Target,
    *,
    spec: Spec | None = None,
    key: str = "",
    building: bool = True,
    first: Applied | None = None,
    pool: Pool | None = None,
    ingredients: Mapping[str, Any] | None = None,
    question: str = "",
) -> Applied:
    """Apply a layer a second time: all of it must run, and nothing may change.

    Args:
        layer: 1 to 5.
        target: it is reached through its endpoint.
        spec: as `apply` had it.
        key: as `apply` had it.
        building: as `apply` had it.
        first: what the first application did, to compare with; None when nobody noted it.
        pool: as `apply` had it.
        ingredients: as `apply` had it.
        question: as for `apply`.

    Raises:
        ProvisionError: as `apply`; or operations changed something, each is named; or it was
            skipped or ran another number of operations than the first, which proves nothing.
    """
    again = apply(
        layer,
        target,
        spec=spec,
        key=key,
        building=building,
        diff=True,
        pool=pool,
        ingredients=ingredients,
        question=question,
    )
    require_unchanged(again)
    require_repeated(again, first.operations if first else again.operations)
    return again


def require_repeated(again: Applied, operations: int) -> None:
    """Refuse a second application that did not run every operation of the first.

    Raises:
        ProvisionError: it was skipped, or had another number of operations.
    """
    if again.skipped or again.operations != operations:
        did = f"skipped, {again.skipped}" if again.skipped else f"{again.operations} operations"
        raise ProvisionError(
            f"layer {again.layer}: its second application is no proof: {did};"
            f" the first had {operations} operations",
            hint="a role must add its operations whatever it finds on the host; " + HINT,
        )


def require_unchanged(applied: Applied) -> None:
    """Refuse an application that changed something.

    Raises:
        ProvisionError: it did; each operation is named, with what it changed.
    """
    if not applied.changed:
        return
    layer, count = applied.layer, len(applied.changed)
    operations = counted(count, "operation")
    lines: list[str] = []
    for name, diff in zip_longest(applied.changed, applied.diffs, fillvalue=""):
        lines += [name, *file_diff.excerpt(file_diff.named(diff))]
    raise ProvisionError(
        f"layer {layer}: its second application changed something: {operations}",
        hint="an operation must compare before it acts; " + HINT,
        details="\n".join(lines),
    )


@contextlib.contextmanager
def described(
    target: Target,
    spec: Spec | None,
    *,
    keys: Mapping[str, str],
    building: bool,
    data: Mapping[str, object] | None = None,
) -> Iterator[tuple[Path, dict[str, str]]]:
    """Describe a target for inventory.py; yield a scratch folder and pyinfra's environment.

    `data` goes before what the specification says; no key of a link knows of it.
    """
    described = {
        "name": target.name,
        "endpoint": asdict(target.endpoint),
        "layer_keys": keys,
        "building": building,
        "data": dict(data or {}),
    }
    with tempfile.TemporaryDirectory(prefix="cube-apply-") as name:
        file = Path(name, "machine.json")
        file.write_text(json.dumps(described, default=str))
        chosen = {"CUBE_SPEC": str(spec.file)} if spec else {}
        yield Path(name), {"CUBE_MACHINE": str(file), **chosen}


def run_layer(
    layer: int,
    env: Mapping[str, str],
    folder: Path,
    *,
    timeout_s: float,
    dry: bool = False,
    diff: bool = False,
    pool: Pool | None = None,
) -> tuple[int, Journal]:
    """Run pyinfra for a layer of one machine: in a pool for many, or in a process of its own."""
    if pool:
        return pool.run(layer, env, folder, timeout_s=timeout_s, dry=dry, diff=diff)
    return run_pyinfra(layer_args(layer), env, folder, timeout_s=timeout_s, dry=dry, diff=diff)


def pyinfra_args(*, dry: bool, diff: bool) -> list[str]:
    """Build pyinfra's command up to the inventory: it asks nothing."""
    mode = ["--dry" if dry else "--yes", *(["--diff"] if dry or diff else [])]
    return [sys.executable, "-m", "pyinfra", *mode]


def layer_args(layer: int) -> list[str]:
    """Name the inventory and the deploy file of a layer."""
    return ["inventory.py", f"deploy/layer{layer}.py"]


def quiet(events: Path) -> dict[str, str]:
    """Return variables that have pyinfra write events to a file, and draw nothing."""
    return {"PYINFRA_PROGRESS": "off", "CUBE_EVENTS": str(events)}


def run_pyinfra(
    argv: Sequence[str],
    env: Mapping[str, str],
    folder: Path,
    *,
    timeout_s: float,
    told: bool = True,
    dry: bool = False,
    diff: bool = False,
) -> tuple[int, Journal]:
    """Run pyinfra in the project's folder; return its exit code and what it told.

    Args:
        argv: inventory and deploy files.
        env: variables added to the environment.
        folder: for the events.
        timeout_s: seconds until it must have ended.
        told: False for a run that nobody watches.
        dry: True changes nothing; the events then hold what would change.
        diff: True has the events hold what operations change in files.

    Raises:
        ProvisionError: it did not end in time.
    """
    journal = Journal(file=folder / "events.jsonl", told=told)
    journal.file.touch()
    command = [*pyinfra_args(dry=dry, diff=diff), *argv]
    env = {**env, **quiet(journal.file)}
    try:
        code = run.stream(command, on_line=journal.line, timeout_s=timeout_s, env=env, cwd=PROJECT)
    except CommandError as error:
        raise ProvisionError(error.message, hint=HINT, details=journal.tail()) from error
    journal.poll()
    return code, journal


def judge(layer: int, code: int, journal: Journal) -> Applied:
    """Turn a run's events into a result.

    Raises:
        ProvisionError: an operation failed; or pyinfra did, or some planned operation did not
            end, whatever the exit code says.
    """
    if journal.of("exit") and (cause := journal.cause()):
        cause = cause.removeprefix(f"layer {layer}: ")
        raise ProvisionError(f"layer {layer}: {cause}", hint=HINT, details=journal.tail())
    check_errors(layer, journal)
    if (skipped := journal.skipped(layer)) and code == 0:
        return Applied(layer=layer, skipped=skipped)
    planned = journal.planned()  # what a later layer loads ahead is in no plan
    ids = {op["id"] for op in planned}
    ended = {event["id"]: event for event in journal.of("end") if event["id"] in ids}
    missing = [op["name"] for op in planned if op["id"] not in ended]
    if code != 0 or not planned or missing:
        what = f"did not end: {missing[0]}" if missing else f"pyinfra's exit code is {code}"
        cause = journal.cause().removeprefix(f"layer {layer}: ")
        raise ProvisionError(f"layer {layer}: {cause or what}", hint=HINT, details=journal.tail())
    changed = [event for event in ended.values() if event["changed"]]
    return Applied(
        layer=layer,
        operations=len(ended),
        changed=tuple(map(changes, changed)),
        diffs=tuple(event.get("diff", "") for event in changed),
        execs=sum(event["execs"] for event in ended.values()),
        seconds=sum(event["seconds"] for event in ended.values()),
        reason=journal.reason(layer),
        key=journal.key(layer),
        answer=journal.answer(),
    )


def check_errors(layer: int, journal: Journal) -> None:
    """Name the operation that failed, with what its command printed.

    Raises:
        ProvisionError: there is one.
    """
    for event in journal.of("end"):
        if event.get("error"):
            raise ProvisionError(
                f"layer {layer}: {title(event)}: failed", hint=HINT, details=event["error"]
            )


def changes(event: dict[str, Any]) -> str:
    """Return an operation with the last command it ran, the one that made the change."""
    last = event["commands"][-1].splitlines()[0] if event["commands"] else ""
    return f"{title(event)}: {last[:COMMAND_WIDTH]}"


def dry_run_offline(spec: Spec) -> list[str]:
    """Run every enabled layer without a machine; return what is wrong, one line each."""
    with tempfile.TemporaryDirectory(prefix="cube-offline-") as folder:
        argv = ["--limit", f"@fake/{spec.image.os}", "deploy/runner/offline.py", "deploy/site.py"]
        env = {"CUBE_SPEC": str(spec.file)}
        code, journal = run_pyinfra(
            argv, env, Path(folder), timeout_s=OFFLINE_TIMEOUT_S, told=False
        )
    if code != 0 and (cause := journal.cause()):
        return [f"{cause}\n{journal.tail()}"]
    try:
        for layer in sorted({plan["layer"] for plan in journal.of("plan")}):
            judge(layer, code, journal)
    except ProvisionError as error:
        return [f"{error.message}\n{error.details}"]
    return [] if code == 0 and journal.of("plan") else [journal.tail()]
