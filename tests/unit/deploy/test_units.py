"""Units of ours: closed as far as their work allows, and masked or held where that is safe."""

import subprocess
from pathlib import Path

import pytest
from pyinfra import logger

from cube.baseimage import base_files
from deploy.facts.apt import Package
from deploy.facts.system import Missing
from deploy.facts.systemd import Unit
from deploy.operations import apt, system, systemd
from deploy.operations.files import put_atomic
from deploy.runner.sources import ROOT, template_text

FOLDERS = (ROOT / "files", base_files.FILES)
OURS = sorted(unit for folder in FOLDERS for unit in folder.rglob("cube-*.service"))
#: Exposure in tenths that none exceeds. Source: systemd-analyze(1), security --threshold.
MOST_EXPOSED = 50


def exposure(unit: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--no-pager",
            f"--threshold={MOST_EXPOSED}",
            unit,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("unit", OURS, ids=[path.name for path in OURS])
def test_a_unit_of_ours_has_only_what_it_needs(unit: Path) -> None:
    done = exposure(unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_fail2ban_has_only_what_it_needs(tmp_path: Path) -> None:
    unit = tmp_path / "fail2ban.service"
    sandbox = (ROOT / "files/security/fail2ban-sandbox.conf").read_text()
    unit.write_text("[Service]\nExecStart=/usr/bin/fail2ban-server -xf start\n")
    assert exposure(unit).returncode != 0  # or the threshold would prove nothing
    unit.write_text(f"{unit.read_text()}{sandbox.replace('[Service]', '')}")
    done = exposure(unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


class Host:
    """A host that answers with what is given, and notes what is told."""

    print_prefix = ""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.told: list[str] = []

    def get_fact(self, fact: type, **_: object) -> object:
        return self.answers[fact.__name__]

    def noop(self, _: str) -> None:
        """Nothing is to be done."""


@pytest.mark.parametrize(
    ("unit", "by_anybody", "commands", "told"),
    [
        (Unit(loaded=True), False, ["mask"], False),
        (Unit(loaded=True), True, ["mask"], False),
        (Unit(masked=True), False, [], False),
        (Unit(), False, ["mask"], False),
        (Unit(loaded=True, enabled=True), True, ["disable", "mask"], False),
        (Unit(loaded=True, enabled=True, running=True), False, [], True),
    ],
)
def test_a_unit_is_masked_unless_its_owner_has_enabled_it(
    unit: Unit,
    by_anybody: bool,
    commands: list[str],
    told: bool,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host(Units={"x.service": unit})
    monkeypatch.setattr(systemd, "host", host)
    monkeypatch.setattr(logger, "warning", host.told.append)
    found = list(systemd.masked._inner(unit="x.service", harm="it burns", by_anybody=by_anybody))
    assert found == [f"systemctl {verb} x.service" for verb in commands]
    expected = ["x.service stays enabled, somebody chose that: it burns"] if told else []
    assert host.told == expected


@pytest.mark.parametrize(
    ("missing", "commands"), [([], []), (["/b"], ["systemctl start k.service"])]
)
def test_a_unit_makes_files_where_one_is_missing(
    missing: list[str], commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "host", Host(Missing=missing))
    assert list(system.made_by._inner(files=("/a", "/b"), unit="k.service")) == commands


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    there, gone = tmp_path / "it's there", tmp_path / "it's gone"
    there.touch()
    command = Missing().command(paths=(str(there), str(gone)))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [str(gone)]


INSTALLED = {
    "linux-generic": Package(version="6.8.0-50.51"),
    "linux-image-generic": Package(version="6.8.0-50.51", held=True),
    "linux-image-6.8.0-50-generic": Package(version="6.8.0-50.51"),
    "linux-firmware": Package(version="1", held=True),
}


@pytest.mark.parametrize(
    ("content", "there", "commands"),
    [
        ("x\n", False, ["put /f", "apt-mark hold linux-generic"]),
        ("", True, ["apt-mark unhold linux-image-generic", "rm /f"]),
        ("", False, []),  # what is held, somebody else holds
    ],
)
def test_kernels_are_held_and_let_go_of(
    content: str, there: bool, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "host", Host(Packages=INSTALLED, FileExists=there))
    monkeypatch.setattr(put_atomic, "_inner", lambda **words: [f"put {words['dest']}"])
    patterns = ("linux-(image-)?generic$",)
    found = list(apt.held_together._inner(patterns, file="/f", content=content))
    assert found == commands


def test_sshd_offers_the_keys_that_are_named() -> None:
    text = template_text("security/sshd.conf.j2", host_keys=("/a", "/b"), rsa_bits=2048, kex=("k",))
    assert "\nHostKey /a\nHostKey /b\nRequiredRSASize 2048\nKexAlgorithms k\n" in text
