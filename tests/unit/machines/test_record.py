import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cube.machines import record as records
from cube.machines.record import MachineRecord, ProcessId, identify
from cube.runtime.errors import MachineError

NOBODY = ProcessId(pid=1, started="another boot:1")


def test_record_is_read_as_it_was_written(record: MachineRecord) -> None:
    assert records.read(records.write(record)) == record


def test_writing_leaves_no_draft(record: MachineRecord) -> None:
    records.write(record)
    assert [path.name for path in record.run_dir.iterdir()] == ["machine.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "3", '"a"', '{"name": "x"}', '{"endpoint": 1}']
)
def test_no_record_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "machine.json").write_text(text)
    with pytest.raises(MachineError, match="not a machine record"):
        records.read(tmp_path / "machine.json")


def test_machine_of_a_living_owner_is_running(record: MachineRecord) -> None:
    records.write(record)
    assert records.running(record.run_dir.parent) == [record]


@pytest.mark.parametrize(
    ("change", "up"),
    [
        ({"owner": NOBODY}, False),
        ({"owner": NOBODY, "detached": True}, True),
        ({"life": NOBODY}, False),
        ({"life": NOBODY, "detached": True}, False),
    ],
)
def test_who_must_live_for_a_machine_to_be_up(
    record: MachineRecord, change: dict[str, object], up: bool
) -> None:
    assert dataclasses.replace(record, **change).up is up  # type: ignore[arg-type]


def test_no_folder_means_no_machine(tmp_path: Path) -> None:
    assert records.running(tmp_path / "missing") == []


def test_this_process_is_alive() -> None:
    assert identify(os.getpid()).alive


def test_process_that_ended_is_not_alive_even_unreaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    known = identify(child.pid)
    deadline = time.monotonic() + 10
    while known.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not known.alive
    child.wait()
    assert not known.alive


def test_same_number_with_another_start_is_another_process() -> None:
    assert not ProcessId(pid=os.getpid(), started="another boot:1").alive


def test_inventory_and_checks_can_read_records_without_libvirt_and_paramiko() -> None:
    code = """import sys, cube.machines.record
print(*({"libvirt", "paramiko"} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
