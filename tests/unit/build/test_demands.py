"""What cube.toml asks of this machine is tried before minutes are spent."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cube import config
from cube.build import demands, doctor, folder_check, verify
from cube.config import Spec
from cube.machines.qemu import trial
from cube.runtime.errors import CommandError

MEMINFO = "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with two processors, 8 GiB and a libvirt that answers."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    monkeypatch.setattr(demands, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(trial, "trouble", lambda _: "")


def asked(tmp_path: Path, text: str) -> Spec:
    return config.load_text(f"[build]\n{text}", tmp_path / "cube.toml")


@pytest.mark.parametrize("text", ["", "cpus = 2", "cpus = 1", "memory = '8 GiB'", "dir = 'a/b'"])
def test_what_is_there_is_no_mistake(tmp_path: Path, text: str) -> None:
    assert demands.unmet(asked(tmp_path, text)) == []


@pytest.mark.parametrize(
    ("text", "subject", "found"),
    [
        ("cpus = 3", "build.cpus = 3", "this machine has 2 processors"),
        ("cpus = 256", "build.cpus = 256", "write a number from 1 to 2, like 2"),
        ("memory = '9 GiB'", "build.memory = '9 GiB'", "this machine has 8.0 GiB"),
        ("memory = '8193 MiB'", "build.memory = '8193 MiB'", 'a smaller size, like "2 GiB"'),
        ("memory = '1 TiB'", "build.memory = '1024 GiB'", "this machine has 8.0 GiB"),
        ("dir = '/proc/x'", "build.dir = '/proc/x'", "builds cannot be kept there"),
        ("dir = '/dev/null/x'", "build.dir = '/dev/null/x'", "Not a directory"),
        ("dir = '/etc/hostname'", "build.dir = '/etc/hostname'", 'like "build"'),
    ],
)
def test_what_is_not_there_is_told_with_key_and_example(
    tmp_path: Path, text: str, subject: str, found: str
) -> None:
    (one,) = demands.unmet(asked(tmp_path, text))
    assert one.subject == subject
    assert found in f"{one.text}: {one.remedy}"


def test_an_iso_that_should_be_here_is_asked_for(tmp_path: Path) -> None:
    ubuntu = (
        f"[os.'ubuntu-24.04']\niso_sha256 = '{'0' * 64}'\niso_url = 'file://{tmp_path}/a%20b.iso'"
    )
    wanted = config.load_text(ubuntu, tmp_path / "cube.toml", os="ubuntu-24.04")
    (one,) = demands.unmet(wanted)
    assert one.text == f"there is no file {tmp_path}/a b.iso"
    (tmp_path / "a b.iso").touch()
    assert demands.unmet(wanted) == []
    assert demands.unmet(config.load_text(ubuntu, tmp_path / "cube.toml")) == []


def test_doctor_and_gate_tell_it_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = asked(tmp_path, "cpus = 3")
    lacking = [one for one in doctor.examine(wanted) if one.level == "lack"]
    assert [one.subject for one in lacking if one.asked] == ["build.cpus = 3"]
    monkeypatch.setattr(doctor, "examine", lambda _: lacking)
    told = f"{tmp_path}/cube.toml: build.cpus = 3: this machine has 2 processors: write a number"
    assert any(line.startswith(told) for line in verify.host(wanted))


def test_a_libvirt_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "trouble", lambda _: "Connection refused")
    (one,) = demands.unmet(asked(tmp_path, 'libvirt_uri = "qemu:///system"'))
    assert one.subject == "build.libvirt_uri = 'qemu:///system'"
    assert one.text == "it cannot be opened: Connection refused"
    assert one.remedy == 'write "qemu:///embed", which needs no daemon'


def test_a_trial_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "there", tmp_path / "new/er/est"):
        assert folder_check.trouble(folder) == ""
    assert {path.name for path in tmp_path.rglob("*")} == {"meminfo", "there"}


def test_a_name_that_leaves_no_room_is_told(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 3800:
        deep /= "x" * 100
    deep /= "y" * (3980 - len(str(deep)) - 1)
    assert folder_check.trouble(deep) == "File name too long"
    assert [path.name for path in tmp_path.iterdir()] == ["meminfo"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    assert folder_check.trouble(tmp_path / "theirs" / "mine") == "Permission denied"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CommandError("x", returncode=1, output="a\nno socket"), "no socket"),
        (CommandError("x: no end after 30 s"), "no answer within 30 s"),
    ],
)
def test_why_a_uri_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, error: CommandError, told: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.undo()
    monkeypatch.setattr("cube.runtime.run.run", fail)
    assert trial.trouble("qemu:///system") == told


def test_a_uri_is_tried_in_a_process_of_its_own() -> None:
    argv = [sys.executable, "-m", "cube.machines.qemu.trial", "test:///default"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
