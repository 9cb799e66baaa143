"""What Docker is told, and what it has."""

import json
import re
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


#: Long flags of the daemon whose settings have another name. Source: moby, cmd/dockerd/config.go.
SETTINGS_OF = {
    "add-runtime": "runtimes",
    "authorization-plugin": "authorization-plugins",
    "default-address-pool": "default-address-pools",
    "default-ulimit": "default-ulimits",
    "dns-opt": "dns-opts",
    "exec-opt": "exec-opts",
    "feature": "features",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "label": "labels",
    "log-opt": "log-opts",
    "registry-mirror": "registry-mirrors",
    "storage-opt": "storage-opts",
}
SHORT = {
    "-b": "bridge", "-D": "debug", "-G": "group", "-H": "hosts", "-l": "log-level",
    "-p": "pidfile", "-s": "storage-driver",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What Docker's daemon is told and does beside its file.

    Args:
        installed: whether docker.service is there.
        flags: the settings that it is given by flags.
        config: the file that a flag names; "" for none.
        swarm: whether the engine is part of a swarm.
    """

    installed: bool = True
    flags: frozenset[str] = frozenset()
    config: str = ""
    swarm: bool = False


class DockerSurroundings(FactBase[Surroundings]):
    """What Docker's daemon is told and does beside its file."""

    def command(self, root: str) -> str:
        """Print the unit's command, variables and those of its file, and a word for a swarm.

        Args:
            root: where the engine keeps its data: it knows there of its swarm while it is off.
        """
        show = "systemctl show docker.service"
        return (
            "if systemctl cat docker.service >/dev/null 2>&1; then echo installed; fi;"
            f" {show} --property=ExecStart,Environment 2>/dev/null;"
            f" {show} --property=EnvironmentFiles --value 2>/dev/null | cut -d ' ' -f 1"
            " | xargs -r cat 2>/dev/null; state=inactive;"
            # Its socket would start an engine that is off.
            " if systemctl is-active --quiet docker.service; then"
            " state=$(docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null); fi;"
            f" if test -s {quote(root)}/swarm/docker-state.json"
            ' || [ "${state:-inactive}" != inactive ]; then echo swarm; fi'
        )

    @staticmethod
    def default() -> Surroundings:
        """Return that there is no daemon."""
        return Surroundings(installed=False)

    def process(self, output: list[str]) -> Surroundings:
        """Read the flags; quotes do not matter, and a comment gives none."""
        lines = [line for line in output if not line.lstrip().startswith("#")]
        words = re.sub(
            r"""["']|(?<!\S)(Environment=)?\w+=(?=["']?-)""", " ", "\n".join(lines)
        ).split()
        return Surroundings(
            installed="installed" in output,
            flags=frozenset(filter(None, map(setting_of, words))),
            config=config_of(words),
            swarm="swarm" in output,
        )


def setting_of(word: str) -> str:
    """Return the setting that a word of the daemon's command gives; "" for no flag."""
    if word.startswith("--"):
        name = word[2:].partition("=")[0]
        return SETTINGS_OF.get(name, name)
    return SHORT.get(word[:2], "") if word.startswith("-") else ""


def config_of(words: Sequence[str]) -> str:
    """Return the file that --config-file names; "" for none."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name == "--config-file":
            return value or following
    return ""


#: Packages of an engine, or of what takes its place.
ENGINES = ("docker-ce", "docker-ee", "docker.io", "moby-engine", "podman-docker")
SNAP = "/snap/bin/docker"


class DockerEngines(FactBase[list[str]]):
    """Whose engine is there: a package of `ENGINES`, `SNAP`, or a program of no package."""

    def command(self) -> str:
        """Print what is there, or half there."""
        return (
            "dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\\n'"
            f" {' '.join(ENGINES)} 2>/dev/null | awk '$1 ~ /^.[iUFWtH]/ {{ print $2 }}';"
            f" if test -e {SNAP}; then echo {SNAP}; fi;"
            ' if program=$(command -v dockerd) && program=$(readlink -f "$program")'
            ' && ! dpkg-query --search "$program" >/dev/null 2>&1; then echo "$program"; fi'
        )

    @staticmethod
    def default() -> list[str]:
        """Return none."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Return the lines."""
        return output


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
