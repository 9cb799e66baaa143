import pwd
from pathlib import Path

import pytest

from cube.errors import HostError
from cube.machines import hypervisor


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
