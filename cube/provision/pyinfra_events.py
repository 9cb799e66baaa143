"""What a run of pyinfra tells while it goes on: events in a file, and its output around them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cube.runtime import documents, log, run
from cube.runtime.errors import ProvisionError

#: pyinfra's last word when it gives up by itself. Source: pyinfra_cli/exceptions.py, `show`.
GIVEN_UP = re.compile(r"--> .*?\berror(?: in \S+ line \d+)?: (?P<cause>.+)")

#: Characters of a line that fit into a message.
LINE_WIDTH = 160
#: What helps where events cannot be written whole: they are in a temporary folder.
ROOM = (
    "is the disk of temporary files full? make room there, or set TMPDIR to a folder on another"
    " disk, then run it again"
)


class EventFile:
    """A file that events are read from while pyinfra adds to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """Return the events of whole lines that are new.

        Raises:
            ProvisionError: a line is no event.
        """
        with self.path.open("rb") as stream:
            stream.seek(self._read)
            new, _, _ = stream.read().rpartition(b"\n")
        self._read += len(new) + 1 if new else 0
        for text in new.decode(errors="replace").splitlines():
            yield parse(text, self.path)


@dataclass
class Journal:
    """The events of one run on one host, as they come in, with the output around them.

    `told` is False for a run that nobody watches: it changes no machine.
    """

    file: Path
    told: bool = True
    events: list[dict[str, Any]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._events = EventFile(self.file)

    def line(self, text: str) -> None:
        """Take a line of pyinfra's output, and the events that were written until now."""
        self.hear(text)
        self.poll()

    def hear(self, text: str) -> None:
        """Take a line of pyinfra's output."""
        log.debug(text)
        self.output.append(text)

    def poll(self) -> None:
        """Read new events from the file.

        Raises:
            ProvisionError: a line is no event.
        """
        for event in self._events.read():
            self.take(event)

    def take(self, event: dict[str, Any]) -> None:
        """Add an event."""
        self.events.append(event)
        if self.told:
            report(event)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind."""
        return [event for event in self.events if event["event"] == kind]

    def skipped(self, layer: int) -> str:
        """Return why a layer was skipped; empty when it was not."""
        reasons = [event["reason"] for event in self.of("skip") if event["layer"] == layer]
        return str(reasons[0]) if reasons else ""

    def reason(self, layer: int) -> str:
        """Return why a layer applies; empty when it always does."""
        plans = [event for event in self.of("plan") if event["layer"] == layer]
        return str(plans[0].get("reason", "")) if plans else ""

    def planned(self) -> list[dict[str, Any]]:
        """Return the operations that were to be run, with `id` and `name`."""
        return [operation for plan in self.of("plan") for operation in plan["operations"]]

    def cause(self) -> str:
        """Return why pyinfra gave the host up; empty when it did not, or an operation failed."""
        if causes := [event["cause"] for event in self.of("exit") if event["cause"]]:
            return str(causes[0])
        if any(event.get("error") for event in self.of("end")):
            return ""
        found = [match["cause"] for line in self.output if (match := GIVEN_UP.match(line))]
        return found[-1] if found else ""

    def key(self, layer: int) -> str:
        """Return the key that the host notes of a layer; empty when it notes none."""
        keys = [event["key"] for event in self.of("key") if event["layer"] == layer]
        return str(keys[-1]) if keys else ""

    def answer(self) -> str | None:
        """Return the output of the last question; None when the host did not answer it."""
        told = [event["text"] for event in self.of("answer")]
        return str(told[-1]) if told else None

    def left(self) -> str:
        """Name what a run that failed has changed before, and left so; empty for nothing."""
        done = [title(event) for event in self.of("end") if event["changed"]]
        if not done:
            return ""
        return "\n".join(["changed before that, and left so:", *(f"  {one}" for one in done)])

    def tail(self) -> str:
        """Return the last lines of the output."""
        return run.tail("\n".join(line for line in self.output if line.strip()))


def parse(text: str, file: Path) -> dict[str, Any]:
    """Read one event of a file.

    Raises:
        ProvisionError: it is none; a full disk may have taken half of a line.
    """
    try:
        event: dict[str, Any] = documents.parse(text)
    except ValueError as error:
        message = f"{file}: a line of pyinfra's events is broken: {text[:LINE_WIDTH]}"
        raise ProvisionError(message, hint=ROOM) from error
    return event


def report(event: dict[str, Any]) -> None:
    """Pass an operation that ended on to whoever watches the build."""
    if event["event"] == "end":
        for command in event["commands"]:
            log.debug(f"    {command}")
        for line in event.get("diff", "").splitlines():
            log.debug(f"    {line}")
        log.operation(
            title(event),
            seconds=event["seconds"],
            changed=event["changed"],
            layer=event.get("layer"),
            execs=event["execs"],
        )
    elif event["event"] == "skip":
        log.info(f"layer {event['layer']} skipped: {event['reason']}", layer=event["layer"])
    elif event["event"] == "plan" and event.get("reason"):
        log.info(f"layer {event['layer']} applies: {event['reason']}", layer=event["layer"])
    elif event["event"] in {"predict", "start"}:
        log.status(title(event))


def title(event: dict[str, Any]) -> str:
    """Return an operation's role and name."""
    return f"{event['role']}: {event['name']}" if "role" in event else str(event["name"])
