"""What Docker is told, and what it has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from pyinfra.api import FactBase

DAEMON = "/etc/docker/daemon.json"
#: What each role has put into `DAEMON`, so that a change by somebody else is known as one.
NOTED = "/var/lib/cube/docker.json"
#: Parts the two files in the fact's output; no line of JSON looks like it.
MARK = "--cube--"

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """What is in Docker's file and what was noted; `fault` says why the file is no JSON object."""

    settings: Settings = field(default_factory=dict)
    noted: dict[str, Settings] = field(default_factory=dict)
    fault: str = ""


class DockerDaemon(FactBase[Daemon]):
    """The settings of Docker's daemon, and what the roles noted of theirs."""

    def command(self) -> str:
        """Print both files; a missing one is empty."""
        return f"cat {DAEMON} 2>/dev/null; echo; echo {MARK}; cat {NOTED} 2>/dev/null; true"

    @staticmethod
    def default() -> Daemon:
        """Return no settings."""
        return Daemon()

    def process(self, output: list[str]) -> Daemon:
        """Parse both; a note that is damaged is as none."""
        at = output.index(MARK) if MARK in output else len(output)
        text, note = ("\n".join(part).strip() for part in (output[:at], output[at + 1 :]))
        try:
            settings = json.loads(text or "{}")
        except (ValueError, RecursionError) as error:
            return Daemon(fault=str(error))
        if not isinstance(settings, dict):
            return Daemon(fault="it holds no JSON object")
        return Daemon(settings=settings, noted=parse_note(note))


def parse_note(text: str) -> dict[str, Settings]:
    """Return what was noted, by role; nothing when it cannot be read."""
    try:
        noted = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return noted if isinstance(noted, dict) else {}


class DockerImages(FactBase[set[str]]):
    """Those of a list of images that the engine has: names with digests, or ids."""

    def command(self, names: Sequence[str]) -> str:
        """Print the names that `docker image inspect` knows."""
        words = " ".join(map(quote, names))
        return (
            f"for name in {words}; do"
            ' if docker image inspect "$name" >/dev/null 2>&1; then echo "$name"; fi; done'
        )

    @staticmethod
    def default() -> set[str]:
        """Return none."""
        return set()

    def process(self, output: list[str]) -> set[str]:
        """Return the lines."""
        return set(output)
