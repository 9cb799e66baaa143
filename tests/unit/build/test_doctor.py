"""What the host lacks, and how to get it."""

from pathlib import Path

import pytest

from cube import config
from cube.build import doctor
from cube.machines import choose
from cube.machines.qemu import accelerator, firmware
from cube.machines.qemu.firmware import Uefi
from cube.runtime.errors import HostError

PACKAGES = Path(__file__).parents[3] / "host-packages.txt"


def listed_packages() -> set[str]:
    rows = (row.split("#")[0].strip() for row in PACKAGES.read_text().splitlines())
    return {row for row in rows if row}


def test_every_tool_is_installed_by_the_setup() -> None:
    named = {tool.package for tool in doctor.TOOLS} - {"packer"}  # setup.sh finds Packer itself
    assert named <= listed_packages()


def test_a_missing_tool_is_lacking_and_says_how_to_get_it() -> None:
    tool = doctor.Tool(program="no-such-tool", package="no-such-package", purpose="nothing")
    finding = doctor.examine_tool(tool)
    assert finding.level == "lack"
    assert finding.remedy == "sudo apt-get install no-such-package"


def test_a_tool_that_is_there_is_ok() -> None:
    finding = doctor.examine_tool(doctor.Tool(program="sh", package="dash", purpose="shell"))
    assert finding.level == "ok"


def test_a_machine_with_no_program_is_told_of_every_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    accelerator.find.cache_clear()
    monkeypatch.setenv("PATH", "")
    found = doctor.examine(config.load_text("", tmp_path / "cube.toml"))
    lacking = {finding.subject for finding in found if finding.level == "lack"}
    assert lacking >= {tool.program for tool in doctor.TOOLS}
    (tried,) = [finding for finding in found if finding.subject == "accelerator"]
    assert (tried.level, tried.text) == ("note", "not tried: qemu-system-x86_64: not found")


@pytest.mark.parametrize(
    ("found", "obstacle", "level", "text"),
    [
        ("kvm", "a container needs root (sudo)", "ok", "kvm"),
        ("tcg", "", "note", "(slow), layers run in a container"),
        ("tcg", "a container needs ip", "note", "(slow), layers too: a container needs ip"),
    ],
)
def test_what_runs_the_layers_is_told(
    monkeypatch: pytest.MonkeyPatch, found: str, obstacle: str, level: str, text: str
) -> None:
    monkeypatch.setattr(accelerator, "find", lambda: found)
    monkeypatch.setattr(choose, "container_obstacle", lambda: obstacle)
    finding = doctor.examine_accelerator()
    assert finding.level == level
    assert finding.text.endswith(text)


def test_firmware_is_lacking_and_secure_boot_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "KNOWN", ())
    monkeypatch.setattr(firmware, "KNOWN_SECURE", ())
    plain, secure = doctor.examine_firmware(), doctor.examine_secure_boot()
    assert (plain.level, plain.remedy) == ("lack", "sudo apt-get install ovmf")
    assert secure.level == "note"
    assert secure.text.endswith("a build does not prove Secure Boot")
    assert "ovmf (Debian, Ubuntu)" in secure.remedy


def test_firmware_that_is_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Uefi(code=tmp_path / "CODE.fd", variables=tmp_path / "VARS.fd")
    found.code.touch()
    found.variables.touch()
    monkeypatch.setattr(firmware, "KNOWN", (found,))
    monkeypatch.setattr(firmware, "KNOWN_SECURE", (found,))
    for finding in (doctor.examine_firmware(), doctor.examine_secure_boot()):
        assert (finding.level, finding.text) == ("ok", str(found.code))


def test_everything_lacking_is_told_together() -> None:
    lacking = [
        doctor.Finding(level="lack", subject=name, text="absent", remedy=f"install {name}")
        for name in ("a", "b")
    ]
    fine = doctor.Finding(level="ok", subject="c", text="1.0")
    with pytest.raises(HostError, match="lacks 2") as caught:
        doctor.require([*lacking, fine])
    assert "install a" in caught.value.details
    assert "install b" in caught.value.details
    doctor.require([fine])


def test_available_memory() -> None:
    text = "MemTotal:       24000000 kB\nMemAvailable:    2097152 kB\n"
    assert doctor.available_memory_gib(text) == 2.0


def test_a_full_disk_is_lacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "DISK_GIB", 10**9)
    finding = doctor.examine_disk(tmp_path / "not" / "yet")
    assert finding.level == "lack"
    assert str(tmp_path) in finding.text


def test_a_full_disk_that_holds_a_chain_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "DISK_GIB", 10**9)
    (tmp_path / "debian-13" / "chain" / "base-1").mkdir(parents=True)
    assert doctor.examine_disk(tmp_path).level == "lack"
    (tmp_path / "debian-13" / "chain" / "base-1" / "link.json").touch()
    finding = doctor.examine_disk(tmp_path)
    assert finding.level == "note"
    assert "reuses little needs 1000000000 GiB" in finding.text


def test_a_build_folder_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = doctor.examine_disk(tmp_path / "file" / "build")
    assert finding.level == "lack"
    assert f"{tmp_path / 'file'} is a file" in finding.text
