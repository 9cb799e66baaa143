"""A box on the desk: a container on a copy of the last layer's disk, reached as a box would be."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cube import disk, spec, ssh
from cube.machines import Machine, MachineRequest
from cube.machines.container import Containers
from cube.spec import Spec
from tests.integration.conftest import PROJECT, Built, write_spec

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Desk:
    """A box on the desk: a container on a copy of the last layer's disk."""

    machine: Machine
    spec: Spec

    @property
    def word(self) -> str:
        """How a user names it."""
        access = self.machine.endpoint
        options = {"ssh_identity_file": access.key_file, "known_hosts": access.known_hosts}
        return f"ssh://{access.user}@{access.host}:{access.port}?{urlencode(options)}"

    def sh(self, script: str) -> str:
        """Run a script as root."""
        command = f"sudo sh -c {ssh.quote(script)}"
        return ssh.execute(self.machine.endpoint, command).stdout

    def cube(self, command: str, *words: str) -> "Done":
        """Run a command of ours against it, for a program."""
        argv = [BIN / "cube", command, self.word, "--json", "--spec", self.spec.file, *words]
        done = subprocess.run(
            [str(word) for word in argv], capture_output=True, text=True, check=False,
            cwd=PROJECT, timeout=600,
        )  # fmt: skip
        return Done(done.returncode, [json.loads(line) for line in done.stdout.splitlines()])


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit code and what it told."""

    code: int
    told: list[dict[str, Any]]

    def of(self, kind: str) -> dict[str, Any]:
        """Return the one object of a kind."""
        (found,) = [one for one in self.told if one["kind"] == kind]
        return found

    def layer(self, kind: str, number: int) -> dict[str, Any]:
        """Return what is told of a layer."""
        (found,) = [one for one in self.of(kind)["layers"] if one["layer"] == number]
        return dict(found)


@contextlib.contextmanager
def standing(built: Built, key_file: Path, folder: Path) -> Iterator[Desk]:
    """Boot a desk; when the block is left, it is gone."""
    overlay = folder / "disk.qcow2"
    disk.create_overlay(overlay, built.store.named("layer5").disk.absolute())
    request = MachineRequest(
        name="desk", disk=overlay, run_dir=folder / "run", key_file=key_file
    )  # fmt: skip
    loaded = spec.load(write_spec(folder, folder / "build"))
    with Containers().start(request) as machine:
        yield Desk(machine, loaded)
