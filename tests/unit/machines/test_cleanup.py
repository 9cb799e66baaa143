import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.machines import MachineRequest, cleanup
from cube.machines import record as records
from cube.machines.record import MachineRecord, ProcessId, identify
from cube.runtime.errors import MachineError

DEAD = ProcessId(pid=1, started="another boot:1")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture
def orphan(record: MachineRecord, sleeper: subprocess.Popen[bytes]) -> MachineRecord:
    """A machine that runs and whose owner died."""
    found = dataclasses.replace(record, owner=DEAD, life=identify(sleeper.pid))
    found.folders[0].mkdir()
    records.write(found)
    return found


def test_machine_of_a_dead_owner_is_ended_and_told(orphan: MachineRecord) -> None:
    told = cleanup.clear(orphan.run_dir.parent)
    assert len(told) == 1
    assert "machine build: its owner, 1, died" in told[0]
    assert f"process {orphan.life.pid} ended" in told[0]
    assert not orphan.life.alive


def test_its_folders_and_record_go(orphan: MachineRecord) -> None:
    cleanup.clear(orphan.run_dir.parent)
    assert not orphan.folders[0].exists()
    assert not (orphan.run_dir / records.FILE_NAME).exists()


def test_second_clearing_finds_nothing(orphan: MachineRecord) -> None:
    cleanup.clear(orphan.run_dir.parent)
    assert cleanup.clear(orphan.run_dir.parent) == []


def test_machine_that_was_left_up_stays(orphan: MachineRecord) -> None:
    records.write(dataclasses.replace(orphan, detached=True))
    assert cleanup.clear(orphan.run_dir.parent) == []
    assert orphan.life.alive


def test_machine_of_a_living_owner_stays(record: MachineRecord) -> None:
    records.write(record)
    assert cleanup.clear(record.run_dir.parent) == []


def test_process_with_a_reused_number_is_not_touched(
    orphan: MachineRecord, sleeper: subprocess.Popen[bytes]
) -> None:
    other = ProcessId(pid=sleeper.pid, started="another boot:1")
    records.write(dataclasses.replace(orphan, life=other))
    assert cleanup.clear(orphan.run_dir.parent)
    assert sleeper.poll() is None


def test_file_that_is_no_record_is_removed_and_told(tmp_path: Path) -> None:
    file = tmp_path / "broken" / records.FILE_NAME
    file.parent.mkdir()
    file.write_text("{")
    assert "not a machine record" in cleanup.clear(tmp_path)[0]
    assert not file.exists()


def test_name_of_a_machine_that_is_up_is_refused(record: MachineRecord) -> None:
    records.write(record)
    request = MachineRequest(
        name="build", disk=record.disk, run_dir=record.run_dir, key_file=record.run_dir / "key"
    )
    with pytest.raises(MachineError, match="machine build is up already"):
        cleanup.make_room(request)
