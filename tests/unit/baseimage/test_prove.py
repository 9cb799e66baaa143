"""What the first boot of a bare OS is judged by, in the guest."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.unit.chain.project import PROJECT

FILE = PROJECT / "packer/prove.py"
GIB = 1 << 30


@pytest.fixture
def prove() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prove", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["prove"] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def answers(
    prove: ModuleType, monkeypatch: pytest.MonkeyPatch, **told: tuple[int, str]
) -> list[tuple[str, ...]]:
    """Let programs answer by their first word; return what is asked."""
    asked: list[tuple[str, ...]] = []

    def ask(*argv: str) -> "subprocess.CompletedProcess[str]":
        asked.append(argv)
        code, text = told.get(argv[0].replace("-", "_"), (0, ""))
        return subprocess.CompletedProcess(argv, code, text, "")

    monkeypatch.setattr(prove, "ask", ask)
    return asked


GROWN = {
    "disk": 16 * GIB, "part_end": 16 * GIB - (1 << 20), "part": 15 * GIB, "volume": 15 * GIB,
    "filesystem": 15 * GIB - (32 << 20),
}  # fmt: skip


def test_a_root_that_has_grown_is_well(prove: ModuleType) -> None:
    prove.check_growth(SimpleNamespace(**GROWN))


@pytest.mark.parametrize(
    ("what", "size", "named"),
    [("part_end", 8 * GIB, "partition"), ("volume", GIB, "volume"), ("filesystem", GIB, "file")],
)
def test_what_did_not_grow_is_named(prove: ModuleType, what: str, size: int, named: str) -> None:
    sizes = SimpleNamespace(**{**GROWN, what: size})
    with pytest.raises(prove.Unproven, match=f"the {named}.* of the root has .* did not grow"):
        prove.check_growth(sizes)


def test_sizes_are_read_through_a_volume(
    prove: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "vda3").mkdir()
    (tmp_path / "vda3/start").write_text("2048\n")
    monkeypatch.setattr(prove, "BLOCK", tmp_path)
    rows = [("cube-root", "lvm", 3), ("vda3", "part", 5), ("vda", "disk", 9)]
    listed = [{"name": row[0], "type": row[1], "size": row[2]} for row in rows]
    answers(
        prove,
        monkeypatch,
        findmnt=(0, "/dev/mapper/cube-root\n"),
        blockdev=(0, "3\n"),
        lsblk=(0, json.dumps({"blockdevices": listed})),
        dumpe2fs=(0, "Block count:              7\nBlock size:               4096\n"),
    )
    found = prove.read_sizes()
    assert (found.disk, found.part_end, found.volume) == (9, 2048 * 512 + 5, 3)
    assert found.filesystem == 7 * 4096


def test_an_empty_password_is_named(prove: ModuleType) -> None:
    prove.check_passwords("root:*:1::::::\nada:!:1::::::\n")
    with pytest.raises(prove.Unproven, match="an account has an empty password: eve"):
        prove.check_passwords("root:*:1::::::\neve::1::::::\n")


def test_a_failed_unit_is_told_with_its_journal(
    prove: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = answers(prove, monkeypatch, systemctl=(1, "ssh.service\n"), journalctl=(0, "no key"))
    monkeypatch.setattr(prove, "read", lambda *_: "ssh.service loaded failed failed\n")
    with pytest.raises(prove.Unproven, match="the system is"):
        prove.check_units()
    assert any("--unit=ssh.service" in argv for argv in asked)
    assert "no key" in capsys.readouterr().err


def test_a_cloud_init_that_failed_is_told(
    prove: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(prove, monkeypatch, cloud_init=(1, "status: error"))
    with pytest.raises(prove.Unproven, match="cloud-init did not end well"):
        prove.check_cloud_init()


@pytest.fixture
def placed(prove: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module with its files below a folder."""
    loaders = (tmp_path / "boot.img", tmp_path / "grubx64.efi")
    monkeypatch.setattr(prove, "LOADERS", loaders)
    monkeypatch.setattr(prove, "FEATURES", tmp_path / "features")
    monkeypatch.setattr(prove, "KEPT_FEATURES", tmp_path / "kept/features")
    monkeypatch.setattr(prove, "MARK", tmp_path / "lib/base")
    return tmp_path


def test_boot_loaders_must_be_written_anew(
    prove: ModuleType, placed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (placed / "boot.img").write_text("of before")
    answers(prove, monkeypatch)
    with pytest.raises(prove.Unproven, match="boot loaders could not be installed"):
        prove.check_boot_loaders()


def test_features_are_copied_as_they_read(prove: ModuleType, placed: Path) -> None:
    prove.keep_apparmor_features()
    assert not (placed / "kept").exists()
    (placed / "features/caps").mkdir(parents=True)
    (placed / "features/caps/mask").write_text("chown")
    (placed / "kept/features").mkdir(parents=True)
    (placed / "kept/features/old").touch()
    prove.keep_apparmor_features()
    assert (placed / "kept/features/caps/mask").read_text() == "chown"
    assert not (placed / "kept/features/old").exists()


CHECKS = ("check_cloud_init", "check_units", "check_growth", "check_passwords",
          "check_boot_menu", "check_boot_loaders")  # fmt: skip


@pytest.mark.parametrize("failing", ["", *CHECKS])
def test_the_mark_is_left_only_when_all_is_well(
    prove: ModuleType,
    placed: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def check(name: str) -> None:
        if name == failing:
            raise prove.Unproven("not well")

    for name in CHECKS:
        monkeypatch.setattr(prove, name, lambda *_, name=name: check(name))
    monkeypatch.setattr(prove, "read_sizes", lambda: SimpleNamespace(**GROWN))
    monkeypatch.setenv("CUBE_NONCE", "abc")
    code = prove.main()
    said = capsys.readouterr()
    if failing:
        assert (code, said.err) == (1, "cube: not well\n")
        assert not prove.MARK.exists()
    else:
        assert (code, said.out) == (0, "cube: proven, root has 15360 MiB\n")
        assert prove.MARK.read_text() == "abc\n"
