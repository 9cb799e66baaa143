import os
from pathlib import Path

import pytest

from cube.machines import Endpoint
from cube.machines.record import MachineRecord, identify


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    return Endpoint(
        host="127.0.0.1",
        port=2222,
        user="cube-build",
        key_file=tmp_path / "key",
        known_hosts=tmp_path / "known_hosts",
    )


@pytest.fixture
def record(tmp_path: Path, endpoint: Endpoint) -> MachineRecord:
    """A machine of this very process that is up."""
    run_dir = tmp_path / "machines" / "build"
    run_dir.mkdir(parents=True)
    return MachineRecord(
        name="build",
        kind="container",
        disk=tmp_path / "disk.qcow2",
        run_dir=run_dir,
        endpoint=endpoint,
        owner=identify(os.getpid()),
        detached=False,
        life=identify(os.getpid()),
        folders=(tmp_path / "state",),
    )
