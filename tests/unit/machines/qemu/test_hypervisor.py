import os
import pwd
import sys
from pathlib import Path

import pytest

from cube.machines import Endpoint, record
from cube.machines.qemu import hypervisor, vm
from cube.runtime import run
from cube.runtime.errors import HostError, MachineError


def test_other_hypervisors_are_taken_as_they_are() -> None:
    assert hypervisor.resolve("qemu:///system") == ("qemu:///system", None)


def test_root_of_the_embedded_driver_can_be_given() -> None:
    uri = "qemu:///embed?root=/srv/state"
    assert hypervisor.resolve(uri) == (uri, Path("/srv/state"))


def test_embedded_driver_has_one_short_folder_a_process() -> None:
    uri, state = hypervisor.resolve("qemu:///embed")
    assert state is not None
    assert uri == f"qemu:///embed?root={state}"
    assert hypervisor.resolve("qemu:///embed") == (uri, state)
    assert 'stdio_handler = "file"' in (state / "etc/qemu.conf").read_text()
    # The longest socket that libvirt makes below it. Source: unix(7), 107 bytes.
    assert len(f"{state}/lib/qemu/domain-99-{'n' * 20}/monitor.sock") <= 107


def test_missing_account_of_debians_libvirt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_name: str) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("pwd.getpwnam", nobody)
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    with pytest.raises(HostError, match="libvirt-qemu is missing") as caught:
        hypervisor.connect("qemu:///embed?root=/srv/never")
    assert "useradd" in caught.value.hint


def test_a_process_is_bound_to_its_first_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervisor, "_bound", [])
    first, second = "qemu:///embed?root=/a", "qemu:///embed?root=/b"
    assert not hypervisor.bound_elsewhere(first)
    hypervisor._bound.append(first)
    assert not hypervisor.bound_elsewhere(first)
    assert hypervisor.bound_elsewhere(second)
    assert not hypervisor.bound_elsewhere("qemu:///system")


def a_record(tmp_path: Path, uri: str) -> record.MachineRecord:
    me = record.identify(os.getpid())
    access = Endpoint(
        host="127.0.0.1",
        port=22,
        user="cube",
        key_file=tmp_path / "key",
        known_hosts=tmp_path / "k",
    )
    found = record.MachineRecord(
        name="up",
        kind="vm",
        disk=tmp_path / "disk",
        run_dir=tmp_path,
        endpoint=access,
        owner=me,
        detached=True,
        life=me,
        libvirt_uri=uri,
    )
    record.write(found)
    return found


def test_a_machine_of_another_state_folder_is_stopped_by_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(hypervisor, "_bound", ["qemu:///embed?root=/a"])
    monkeypatch.setattr(run, "run", lambda argv, **_: ran.append([str(word) for word in argv]))
    vm.stop_recorded(a_record(tmp_path, "qemu:///embed?root=/b"))
    assert ran == [
        [sys.executable, "-m", "cube.machines.qemu.stop", str(tmp_path / "machine.json")]
    ]


def test_why_that_process_failed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hypervisor, "_bound", ["qemu:///embed?root=/a"])
    found = a_record(tmp_path, "qemu:///embed?root=/b")
    (tmp_path / "machine.json").write_text("{")
    with pytest.raises(MachineError, match="machine up: could not be stopped") as caught:
        vm.stop_recorded(found)
    assert "not a machine record" in caught.value.details
