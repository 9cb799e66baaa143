"""What a build says of its machine when a step fails: it names what is there to look into."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from cube import config
from cube.build import build_machine
from cube.build.build_machine import KEPT, LOOK, Workbench
from cube.config.workspace import Workspace
from cube.machines import Endpoint, Machine, MachineRequest, record
from cube.machines.choose import Choice
from cube.machines.record import MachineRecord, ProcessId, identify
from cube.runtime.errors import CheckError, CubeError, MachineError


@dataclass
class Planted:
    """Machines that do not boot, or do and may power off later; nothing of them is real."""

    boots: bool = True
    life: ProcessId | None = None

    @contextlib.contextmanager
    def start(self, request: MachineRequest) -> Iterator[Machine]:
        if not self.boots:
            raise MachineError("the guest does not boot")
        note(request, self.life or identify(os.getpid()))
        yield cast(Machine, None)


def note(request: MachineRequest, life: ProcessId) -> None:
    """Record a machine, as those do that are real."""
    request.run_dir.mkdir(parents=True)
    known_hosts, key = request.run_dir / "known_hosts", request.key_file
    endpoint = Endpoint(host="127.0.0.1", port=1, user="x", key_file=key, known_hosts=known_hosts)
    made = MachineRecord(
        name=request.name,
        kind="vm",
        disk=request.disk,
        run_dir=request.run_dir,
        endpoint=endpoint,
        owner=identify(os.getpid()),
        detached=request.detached,
        life=life,
    )
    record.write(made)


GONE = ProcessId(pid=1, started="before this boot")


@pytest.mark.parametrize(
    ("keep", "machines", "words"),
    [
        (True, Planted(), KEPT),
        (True, Planted(boots=False), LOOK),
        (True, Planted(life=GONE), LOOK),
        (False, Planted(), LOOK),
    ],
    ids=["left up", "did not boot", "powered off", "not kept"],
)
def test_a_failure_names_what_is_there_to_look_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, machines: Planted, words: str
) -> None:
    choice = Choice(kind="vm", machines=machines, reason="")
    monkeypatch.setattr(build_machine, "choose", lambda _: choice)
    loaded = config.load_text("", tmp_path / "cube.toml")
    bench = Workbench(spec=loaded, work=Workspace.of(loaded), keep=keep)
    with pytest.raises(CubeError) as caught, bench.boot(tmp_path / "disk.qcow2"):
        raise CheckError("test_planted failed", hint="mend it")
    assert caught.value.hint.split("; ")[-1] == words
