"""Stage 3: apply layers to a machine with pyinfra, and believe only what its events show.

pyinfra runs as a program: importing it patches the whole process (gevent).
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cube import log, run
from cube.errors import CommandError, ProvisionError
from cube.machines import Machine
from cube.spec import Spec

PROJECT = Path(__file__).resolve().parent.parent

#: A layer's longest run; a slow mirror takes minutes, not hours. In seconds.
LAYER_TIMEOUT_S = 2 * 3600
OFFLINE_TIMEOUT_S = 120

#: Characters of a command that fit into a message.
COMMAND_WIDTH = 160

#: pyinfra's words before an operation's name.
STARTING = "--> Starting operation: "

HINT = "correct it, then run cube build again: it goes on from the last good layer"


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What the application of a layer did.

    Args:
        layer: its number.
        operations: how many ended.
        changed: names of those that changed something, "role: name".
        execs: commands that went over SSH.
        seconds: time spent in operations.
        skipped: why the layer has no operations here; empty when it has.
    """

    layer: int
    operations: int = 0
    changed: tuple[str, ...] = ()
    execs: int = 0
    seconds: float = 0.0
    skipped: str = ""


@dataclass
class Journal:
    """The events of one run, as they come in, with the output around them.

    `told` is False for a run that nobody watches: it changes no machine.
    """

    file: Path
    told: bool = True
    events: list[dict[str, Any]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    _read: int = 0

    def line(self, text: str) -> None:
        """Take a line of pyinfra's output, and the events that were written until now."""
        log.debug(text)
        self.output.append(text)
        self.poll()
        if self.told and text.startswith(STARTING):
            log.status(text.removeprefix(STARTING).strip())

    def poll(self) -> None:
        """Read whole new lines of the file."""
        with self.file.open("rb") as stream:
            stream.seek(self._read)
            new, _, _ = stream.read().rpartition(b"\n")
        self._read += len(new) + 1 if new else 0
        for text in new.decode().splitlines():
            self.events.append(json.loads(text))
            if self.told:
                report(self.events[-1])

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind."""
        return [event for event in self.events if event["event"] == kind]

    def tail(self) -> str:
        """Return the last lines of the output."""
        return run.tail("\n".join(line for line in self.output if line.strip()))


def report(event: dict[str, Any]) -> None:
    """Pass an operation that ended on to whoever watches the build."""
    if event["event"] == "end":
        for command in event["commands"]:
            log.debug(f"    {command}")
        log.operation(
            title(event),
            seconds=event["seconds"],
            changed=event["changed"],
            layer=event.get("layer"),
            execs=event["execs"],
        )
    elif event["event"] == "skip":
        log.info(f"layer {event['layer']} skipped: {event['reason']}", layer=event["layer"])


def title(event: dict[str, Any]) -> str:
    """Return an operation's role and name."""
    return f"{event['role']}: {event['name']}" if "role" in event else str(event["name"])


def apply(layer: int, machine: Machine, *, spec: Spec | None = None, key: str = "") -> Applied:
    """Apply a layer to a machine that is up.

    Args:
        layer: 1 to 5.
        machine: it is reached through its endpoint.
        spec: the specification; None is cube.toml.
        key: of the link in the making; the machine notes it.

    Returns:
        What was done; `skipped` says why a layer does not apply to this machine.

    Raises:
        ProvisionError: an operation failed, or did not prove that it ended.
    """
    with tempfile.TemporaryDirectory(prefix="cube-apply-") as folder:
        target = Path(folder, "machine.json")
        endpoint = asdict(machine.endpoint)
        data = {"name": machine.name, "endpoint": endpoint, "layer_keys": {str(layer): key}}
        target.write_text(json.dumps(data, default=str))
        env = {"CUBE_MACHINE": str(target), **({"CUBE_SPEC": str(spec.file)} if spec else {})}
        argv = ["inventory.py", f"deploy/layer{layer}.py"]
        code, journal = run_pyinfra(argv, env, Path(folder), timeout_s=LAYER_TIMEOUT_S)
    return judge(layer, code, journal)


def prove_idempotent(
    layer: int, machine: Machine, *, spec: Spec | None = None, key: str = ""
) -> Applied:
    """Apply a layer a second time: nothing may change.

    Raises:
        ProvisionError: as `apply`; or operations changed something, each is named.
    """
    applied = apply(layer, machine, spec=spec, key=key)
    if not applied.changed:
        return applied
    count = len(applied.changed)
    operations = "1 operation" if count == 1 else f"{count} operations"
    raise ProvisionError(
        f"layer {layer}: its second application changed something: {operations}",
        hint="an operation must compare before it acts; " + HINT,
        details="\n".join(applied.changed),
    )


def run_pyinfra(
    argv: list[str], env: Mapping[str, str], folder: Path, *, timeout_s: float, told: bool = True
) -> tuple[int, Journal]:
    """Run pyinfra in the project's folder; return its exit code and what it told.

    Raises:
        ProvisionError: it did not end in time.
    """
    journal = Journal(file=folder / "events.jsonl", told=told)
    journal.file.touch()
    command = [sys.executable, "-m", "pyinfra", "--yes", *argv]
    quiet = {"PYINFRA_PROGRESS": "off", "CUBE_EVENTS": str(journal.file)}
    try:
        code = run.stream(
            command, on_line=journal.line, timeout_s=timeout_s, env={**env, **quiet}, cwd=PROJECT
        )
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
    check_errors(layer, journal)
    skipped = [event["reason"] for event in journal.of("skip") if event["layer"] == layer]
    if skipped and code == 0:
        return Applied(layer=layer, skipped=skipped[0])
    ended = {event["id"]: event for event in journal.of("end")}
    planned = [op for plan in journal.of("plan") for op in plan["operations"]]
    missing = [op["name"] for op in planned if op["id"] not in ended]
    if code != 0 or not planned or missing:
        what = f"did not end: {missing[0]}" if missing else f"pyinfra's exit code is {code}"
        raise ProvisionError(f"layer {layer}: {what}", hint=HINT, details=journal.tail())
    return Applied(
        layer=layer,
        operations=len(ended),
        changed=tuple(changes(event) for event in ended.values() if event["changed"]),
        execs=sum(event["execs"] for event in ended.values()),
        seconds=sum(event["seconds"] for event in ended.values()),
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
        argv = ["--limit", f"@fake/{spec.image.os}", "deploy/offline.py", "deploy/site.py"]
        env = {"CUBE_SPEC": str(spec.file)}
        code, journal = run_pyinfra(
            argv, env, Path(folder), timeout_s=OFFLINE_TIMEOUT_S, told=False
        )
    try:
        for layer in sorted({plan["layer"] for plan in journal.of("plan")}):
            judge(layer, code, journal)
    except ProvisionError as error:
        return [f"{error.message}\n{error.details}"]
    return [] if code == 0 and journal.of("plan") else [journal.tail()]
