"""What a run of pyinfra tells while it goes on: events in a file, and its output around them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cube.runtime import documents, log, run
from cube.runtime.errors import ProvisionError

#: pyinfra's words before an operation's name.
STARTING = "--> Starting operation: "
#: pyinfra's last word when it gives up by itself. Source: pyinfra_cli/exceptions.py, `show`.
GIVEN_UP = re.compile(r"--> .*?\berror(?: in \S+ line \d+)?: (?P<cause>.+)")

#: Characters of a line that fit into a message.
LINE_WIDTH = 160
#: What helps where events cannot be written whole: they are in a temporary folder.
ROOM = (
    "is the disk of temporary files full? make room there, or set TMPDIR to a folder on another"
    " disk, then run it again"
)


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
        self.tell_start(text)

    def hear(self, text: str) -> None:
        """Take what pyinfra said where it writes that beside its events."""
        for line in text.splitlines():
            log.debug(line)
            self.output.append(line)
            self.tell_start(line)

    def tell_start(self, text: str) -> None:
        """Say which operation starts, if a line says so."""
        if self.told and text.startswith(STARTING):
            log.status(text.removeprefix(STARTING).strip())

    def poll(self) -> None:
        """Read whole new lines of the file.

        Raises:
            ProvisionError: one of them is no event.
        """
        with self.file.open("rb") as stream:
            stream.seek(self._read)
            new, _, _ = stream.read().rpartition(b"\n")
        self._read += len(new) + 1 if new else 0
        for text in new.decode(errors="replace").splitlines():
            event = parse(text, self.file)
            if event["event"] == "said":
                self.hear(event["text"])
                continue
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
        """Return why pyinfra gave up by itself; empty when it did not, or an operation failed."""
        if any(event.get("error") for event in self.of("end")):
            return ""
        if told := [event["cause"] for event in self.of("exit")]:
            return str(told[-1])
        found = [match["cause"] for line in self.output if (match := GIVEN_UP.match(line))]
        return found[-1] if found else ""

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
    elif event["event"] == "predict":
        log.status(title(event))


def title(event: dict[str, Any]) -> str:
    """Return an operation's role and name."""
    return f"{event['role']}: {event['name']}" if "role" in event else str(event["name"])
