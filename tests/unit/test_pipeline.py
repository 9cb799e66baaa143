"""What a build refuses before it touches anything."""

import os
from pathlib import Path

import pytest

from cube import pipeline, spec
from cube.errors import BusyError
from cube.machines import Endpoint, record
from cube.machines.record import MachineRecord, identify
from cube.workspace import Workspace


def leave_up(work: Workspace, name: str) -> None:
    """Record a machine that is up for people."""
    folder = work.machines / name
    folder.mkdir(parents=True)
    ourselves = identify(os.getpid())
    key = work.build_key
    endpoint = Endpoint(
        host="127.0.0.1", port=2222, user="cube-build", key_file=key, known_hosts=folder / "hosts"
    )
    record.write(
        MachineRecord(
            name=name, kind="container", disk=work.chain / "unfinished" / "disk.qcow2",
            run_dir=folder, endpoint=endpoint, owner=ourselves, detached=True, life=ourselves,
        )
    )  # fmt: skip


def test_the_machine_of_an_earlier_build_keeps_its_disk_and_key(tmp_path: Path) -> None:
    wanted = spec.load_text("", tmp_path / "cube.toml")
    work = Workspace.of(wanted)
    leave_up(work, pipeline.MACHINE)
    for file in (work.chain / "unfinished" / "disk.qcow2", work.build_key):
        file.parent.mkdir(parents=True)
        file.touch()
    with pytest.raises(BusyError, match="is still up") as caught:
        pipeline.build(wanted)
    assert "cube down" in caught.value.hint
    assert (work.chain / "unfinished" / "disk.qcow2").exists()
    assert work.build_key.exists()
