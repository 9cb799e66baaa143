"""A box on the desk: a machine on a copy of the last layer's disk, reached as a box would be."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube import config
from cube.config import Spec
from cube.disks import qcow2
from cube.hosts.validation.catalog import named
from cube.machines import Machine, MachineRequest, address, ssh
from cube.machines.nspawn.container import Containers
from tests.integration.conftest import PROJECT, Built, write_spec

BIN = Path(sys.executable).parent

#: A suite's program that says that it passed on a processor.
PASSING = """\
#!/bin/sh
echo "... working" >&2
echo '{{"check": "{name}", "outcome": "pass", "evidence": "cpu", "reason": "",
 "checks": [{{"name": "it works", "status": "OK", "detail": "yes"}}]}}'
"""


@dataclass(frozen=True)
class Desk:
    """A box on the desk: a machine on a copy of the last layer's disk."""

    machine: Machine
    spec: Spec

    @property
    def word(self) -> str:
        """How a user names it."""
        return address.of(self.machine.endpoint).url

    def sh(self, script: str) -> str:
        """Run a script as root."""
        command = f"sudo sh -c {ssh.quote(script)}"
        return ssh.execute(self.machine.endpoint, command).stdout

    def plant(self, suite: str, text: str) -> None:
        """Put a text in place of a suite's program."""
        path = named(suite).path
        self.sh(f"cat >{path} <<'END'\n{text}END\nchmod 755 {path}")

    def cube(self, command: str, *words: str, at: str | Sequence[str] = ()) -> "Done":
        """Run a command of ours against it (or hosts of other names), for a program."""
        hosts = [at] if isinstance(at, str) else at or [self.word]
        argv = [BIN / "cube", command, *hosts, "--json", "--spec", self.spec.file, *words]
        done = subprocess.run(
            [str(word) for word in argv],
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
            timeout=1800,
        )
        told = [json.loads(line) for line in done.stdout.splitlines()]
        return Done(done.returncode, told, done.stderr)


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit code, what it told, and its messages."""

    code: int
    told: list[dict[str, Any]]
    messages: str = ""

    def of(self, kind: str) -> dict[str, Any]:
        """Return the one object of a kind."""
        found = [one for one in self.told if one["kind"] == kind]
        assert len(found) == 1, f"{self.code}: {self.told}\n{self.messages[-4000:]}"
        return found[0]

    def layer(self, kind: str, number: int) -> dict[str, Any]:
        """Return what is told of a layer."""
        (found,) = [one for one in self.of(kind)["layers"] if one["layer"] == number]
        return dict(found)


@contextlib.contextmanager
def standing(built: Built, key_file: Path, folder: Path) -> Iterator[Desk]:
    """Boot a desk in a container; when the block is left, it is gone."""
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, built.store.named("layer5").disk.absolute())
    with standing_on(overlay, key_file, folder) as desk:
        yield desk


@contextlib.contextmanager
def standing_on(overlay: Path, key_file: Path, folder: Path) -> Iterator[Desk]:
    """Boot a desk in a container from a disk of its own."""
    request = MachineRequest(name="desk", disk=overlay, run_dir=folder / "run", key_file=key_file)
    loaded = config.load(write_spec(folder, folder / "build"))
    with Containers().start(request) as machine:
        yield Desk(machine, loaded)
