"""cube-boot-loader: what is outdated, and what grub-install is told."""

import importlib.machinery
import importlib.util
import os
import subprocess
import time
from pathlib import Path
from types import ModuleType

import pytest

from cube.baseimage import base_files
from deploy.runner.sources import GUEST

PROGRAM = GUEST / "cube_boot_loader.py"
BIOS, USED = "usr/lib/grub/i386-pc", "boot/grub/i386-pc"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("cube_boot_loader", str(PROGRAM))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def box(tmp_path: Path, program: ModuleType) -> Path:
    """A root whose boot loaders are those of the packages."""
    files = {f"{BIOS}/lvm.mod": "m", f"{BIOS}/boot.img": "b", f"{BIOS}/cdboot.img": "unused"}
    files |= {f"{USED}/lvm.mod": "m", f"{USED}/boot.img": "b", f"{USED}/core.img": "made"}
    for source, name in program.ESP_FILES.items():
        files |= {source: source, f"boot/efi/{name}": source}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_is_up_to_date_is_left_alone(program: ModuleType, box: Path) -> None:
    assert not program.bios_outdated(box)
    assert not program.efi_outdated(box)


@pytest.mark.parametrize("name", ["lvm.mod", "boot.img"])
@pytest.mark.parametrize("change", ["new", "missing"])
def test_a_new_grub_is_seen(program: ModuleType, box: Path, name: str, change: str) -> None:
    if change == "new":
        (box / BIOS / name).write_text("newer")
    else:
        (box / USED / name).unlink()
    assert program.bios_outdated(box)
    assert not program.efi_outdated(box)


@pytest.mark.parametrize("source", ["SHIM", "GRUB"])
@pytest.mark.parametrize("change", ["new", "missing"])
def test_a_new_signed_loader_is_seen(
    program: ModuleType, box: Path, source: str, change: str
) -> None:
    name = getattr(program, source)
    if change == "new":
        (box / name).write_text("newer")
    else:
        (box / "boot/efi" / program.ESP_FILES[name]).unlink()
    assert program.efi_outdated(box)
    assert not program.bios_outdated(box)


def test_a_system_without_signed_packages_is_not_outdated(program: ModuleType, box: Path) -> None:
    for name in program.ESP_FILES:
        (box / name).unlink()
    assert not program.efi_outdated(box)


@pytest.mark.parametrize("text", ["NAME=x\nID=ubuntu\n", 'VERSION_ID="24"\nID="ubuntu"\n'])
def test_the_signed_grub_finds_its_folder(program: ModuleType, tmp_path: Path, text: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(text)
    assert program.system_id(tmp_path) == "ubuntu"


@pytest.mark.parametrize(
    ("rows", "disk"),
    [
        ("part /dev/vda3\ndisk /dev/vda", "/dev/vda"),
        ("lvm /dev/mapper/cube-root\npart /dev/nvme0n1p3\ndisk /dev/nvme0n1", "/dev/nvme0n1"),
    ],
)
def test_the_disk_is_found_through_lvm(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, rows: str, disk: str
) -> None:
    monkeypatch.setattr(program, "ask", lambda *argv: rows if argv[0] == "lsblk" else "/dev/x")
    assert program.disk_of_root() == disk


@pytest.mark.parametrize("rows", ["", "raid1 /dev/md0\ndisk /dev/sda\ndisk /dev/sdb"])
def test_a_root_on_several_disks_is_refused(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    monkeypatch.setattr(program, "ask", lambda *argv: rows if argv[0] == "lsblk" else "/dev/x")
    with pytest.raises(SystemExit, match="run grub-install for each disk by hand"):
        program.disk_of_root()


def test_a_failure_of_a_tool_is_told_in_a_line(tmp_path: Path) -> None:
    tool = tmp_path / "grub-install"
    tool.write_text("#!/bin/sh\nexit 3\n")
    tool.chmod(0o755)
    for name, body in {"findmnt": "echo /dev/vda3", "lsblk": "echo disk /dev/vda"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["python3", PROGRAM, "--force"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "grub-install --target=i386-pc /dev/vda: exit code 3" in done.stderr


def test_the_unit_looks_only_when_something_was_unpacked(tmp_path: Path) -> None:
    unit = (base_files.FILES / "cube-boot-loader.service").read_text().replace("\\\n", "")
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecCondition=")]
    script = line.partition("-c '")[2].rstrip("'")
    for name in ("/var/lib/cube", "/usr/lib/grub", "/usr/lib/shim"):
        (tmp_path / name[1:]).mkdir(parents=True)
        script = script.replace(name, f"{tmp_path}{name}")

    def due() -> bool:
        return subprocess.run(["sh", "-c", script], check=False).returncode == 0

    assert due()
    (tmp_path / "usr/lib/grub/old.mod").touch()
    time.sleep(0.02)
    (tmp_path / "var/lib/cube/boot-loader").touch()
    assert not due()
    time.sleep(0.02)
    new = tmp_path / "usr/lib/grub/new.mod"
    new.touch()
    os.utime(new, (1, 1))  # a package keeps the times of its files
    assert due()


#: Lines of `grub-install --help`. Source: grub2-common 2.12-9+deb13u4; grub-install(8) of Ubuntu.
HELP = {
    "debian": "      --force-extra-removable   force installation to the removable media path",
    "ubuntu": "      --no-extra-removable   Do not install bootloader code to the removable path",
}


@pytest.mark.parametrize(
    ("system", "extra"), [("debian", ["--force-extra-removable"]), ("ubuntu", [])]
)
def test_the_removable_path_has_the_signed_chain_of_each_system(
    program: ModuleType,
    box: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    extra: list[str],
) -> None:
    """An unknown option would end grub-install; Ubuntu's leaves GRUB out of EFI/BOOT."""
    (box / "boot/efi" / program.ESP_FILES[program.GRUB]).unlink()
    (box / "boot/efi" / program.ESP_FILES[program.SHIM]).write_text("older")
    (box / "etc").mkdir()
    (box / "etc/os-release").write_text(f"ID={system}\n")
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(program, "ask", lambda *_: HELP[system])
    monkeypatch.setattr(program, "install", lambda *argv: calls.append(argv))
    program.install_signed(box)
    name = f"--bootloader-id={system}"
    words = ("--efi-directory=/boot/efi", name, "--no-nvram", "--uefi-secure-boot")
    assert calls == [("x86_64-efi", *words, *extra)]
    assert not program.efi_outdated(box)
    assert sorted(path.name for path in (box / "boot/efi/EFI/BOOT").iterdir()) == [
        "BOOTX64.EFI",
        "grubx64.efi",
    ]
