"""Which firmware a machine gets, with and without Secure Boot."""

from pathlib import Path

import pytest

from cube.machines import MachineRequest
from cube.machines.qemu import firmware, vm
from cube.machines.qemu.firmware import Uefi
from cube.runtime.errors import HostError

NOWHERE = Uefi(code=Path("/no"), variables=Path("/no"))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Uefi:
    """The only firmware of this machine; it has no Secure Boot."""
    known = make(tmp_path, "plain", secure_boot=False)
    monkeypatch.setattr(firmware, "KNOWN", (NOWHERE, known))
    monkeypatch.setattr(firmware, "KNOWN_SECURE", (NOWHERE,))
    return known


@pytest.fixture
def secure(plain: Uefi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Uefi:
    """A second one, with Microsoft's keys."""
    known = make(tmp_path, "secure", secure_boot=True)
    monkeypatch.setattr(firmware, "KNOWN_SECURE", (NOWHERE, known))
    return known


def make(folder: Path, name: str, *, secure_boot: bool) -> Uefi:
    known = Uefi(
        code=folder / f"{name}.code", variables=folder / f"{name}.vars", secure_boot=secure_boot
    )
    known.code.write_text(f"code of {name}")
    known.variables.write_text(f"variables of {name}")
    return known


def request(folder: Path, wanted: str) -> MachineRequest:
    return MachineRequest(
        name="it",
        disk=folder / "disk",
        run_dir=folder,
        key_file=folder / "key",
        firmware=wanted,  # type: ignore[arg-type]
    )


def test_a_machine_gets_variables_of_its_own(plain: Uefi, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    own = firmware.copy_variables(tmp_path / "run")
    assert own.code == plain.code
    assert own.variables.parent == tmp_path / "run"
    assert own.variables.read_text() == "variables of plain"
    assert not own.secure_boot


@pytest.mark.parametrize(
    ("wanted", "variables"),
    [("uefi", "variables of plain"), ("secure-boot", "variables of secure")],
)
def test_a_machine_gets_the_firmware_that_it_asks_for(
    secure: Uefi, tmp_path: Path, wanted: str, variables: str
) -> None:
    own = vm._uefi(request(tmp_path, wanted), tmp_path)
    assert own is not None
    assert own.variables.read_text() == variables
    assert own.secure_boot == (wanted == "secure-boot")


def test_bios_needs_no_firmware(plain: Uefi, tmp_path: Path) -> None:
    assert vm._uefi(request(tmp_path, "bios"), tmp_path) is None


def test_secure_boot_is_known_where_its_firmware_is(secure: Uefi) -> None:
    assert firmware.has_secure_boot()
    assert firmware.find(secure_boot=True) == secure


def test_firmware_without_its_variables_is_none(secure: Uefi) -> None:
    secure.variables.unlink()
    assert not firmware.has_secure_boot()


def test_missing_firmware_is_one_line_with_a_way_out(
    plain: Uefi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(HostError, match="Secure Boot and Microsoft's keys") as caught:
        vm._uefi(request(tmp_path, "secure-boot"), tmp_path)
    assert "--firmware uefi" in caught.value.hint
    assert not list(tmp_path.glob("uefi-variables.fd"))

    monkeypatch.setattr(firmware, "KNOWN", ())
    with pytest.raises(HostError, match="no UEFI firmware for QEMU"):
        firmware.find()


def test_every_secure_firmware_says_so() -> None:
    assert all(known.secure_boot for known in firmware.KNOWN_SECURE)
    assert not any(known.secure_boot for known in firmware.KNOWN)
