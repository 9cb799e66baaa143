"""Facts: what a host prints, and what is made of it."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from deploy.facts.apt import STAMP, Installed, Lists, Package, PackageLists, Packages, Upgradable
from deploy.facts.certificates import Untrusted
from deploy.facts.files import FileState, FileStates, Stat
from deploy.facts.kernels import StaleInitramfs
from deploy.facts.nvidia import InstalledSinceBoot
from deploy.facts.system import AccountState, KernelSettings
from deploy.facts.systemd import Reading, Readings, Unit, Units

GOLDEN = Path(__file__).parents[2] / "golden"


def sh(command: object) -> list[str]:
    done = subprocess.run(["sh", "-c", str(command)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_file_state_is_read_from_a_real_file(tmp_path: Path) -> None:
    file = tmp_path / "it's a file"
    file.write_text("hello\n")
    file.chmod(0o640)
    state = FileState().process(sh(FileState().command(str(file))))
    sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert state == Stat(mode="640", user=file.owner(), group=file.group(), sha256=sha256)


def test_several_files_are_read_in_one_look(tmp_path: Path) -> None:
    one, two, gone = (tmp_path / name for name in ("it's one", "two", "gone"))
    for file in (one, two):
        file.write_text("hello\n")
        file.chmod(0o640)
    fact = FileStates()
    found = fact.process(sh(fact.command(paths=(str(one), str(gone), str(two)))))
    (state,) = {FileState().process(sh(FileState().command(str(file)))) for file in (one, two)}
    assert found == {str(one): state, str(two): state}


def test_a_missing_file_is_no_error() -> None:
    assert sh(FileState().command("/nowhere/at all")) == []


def test_only_whole_packages_count_and_holds_are_seen() -> None:
    output = ["ii  bash 5.2", "hi  libcuda1 550-1", "rc  nano 8", "iF  half 1"]
    assert Packages().process(output) == {
        "bash": Package(version="5.2"),
        "libcuda1": Package(version="550-1", held=True),
    }


UNITS = """\
Id=docker.service
LoadState=loaded
UnitFileState=enabled
ActiveState=active
ConditionResult=yes
ConditionTimestamp=Mon 2026-11-23 20:29:53 UTC

Id=cube-grow-root.service
LoadState=loaded
UnitFileState=disabled
ActiveState=inactive
ConditionResult=no
ConditionTimestamp=Mon 2026-11-23 20:29:53 UTC

Id=apt-daily.timer
LoadState=masked
UnitFileState=masked
ActiveState=inactive
ConditionResult=no
ConditionTimestamp=
"""


def test_units_are_read_in_one_look() -> None:
    fact = Units()
    fact.command(
        names=("docker.service", "cube-grow-root.service", "apt-daily.timer", "no.service")
    )
    assert fact.process(UNITS.splitlines()) == {
        "docker.service": Unit(loaded=True, enabled=True, running=True),
        "cube-grow-root.service": Unit(loaded=True, running=True),  # its Condition forbids it
        "apt-daily.timer": Unit(masked=True),
        "no.service": Unit(),
    }


def test_a_host_that_says_nothing_has_no_units() -> None:
    assert Units().default()["docker.service"] == Unit()


START = "ActiveState=active\nActiveEnterTimestamp=Mon 2026-11-23 20:29:53.500000 UTC"
#: The unit started an hour after the boot, at 1795465793.5; now is an hour later.
RUNNING = [
    "now 1795469393.500000000 7200.000000000",
    *START.splitlines(),
    "ActiveEnterTimestampMonotonic=3600000000",
    "InvocationID=0123",
    "Digest=abc",
]


@pytest.mark.parametrize(
    ("noted", "changed", "unread"),
    [
        ("", "1795465793.400000", False),  # read, to the tenth of a second
        ("", "1795465793.600000", True),
        ("", "1795469394.000000", True),  # a time in the future tells nothing
        ("0123 abc", "1795465793.600000", False),  # we have noted that it was read
        ("0123 abc", "1795469394.000000", False),
        ("0123 abd", "1795465793.600000", True),  # it has another content since then
        ("4567 abc", "1795465793.600000", True),  # another start was noted
    ],
)
def test_a_file_is_read_when_it_was_noted_or_is_older(
    noted: str, changed: str, unread: bool
) -> None:
    output = [*RUNNING, f"Read={noted}", f"{changed} /a file"]
    assert Readings().process(output) == Reading(unread=("/a file",) if unread else ())


def test_versions_of_before_that_are_kept_are_told_with_and_without_a_note() -> None:
    for noted, unread in [("0123 abc", ()), ("", ("/a",))]:
        output = [*RUNNING, f"Read={noted}", "1795465793.600000 /a", "Kept=yes"]
        assert Readings().process(output) == Reading(unread=unread, kept=True)


def test_a_unit_that_does_not_run_has_nothing_to_read() -> None:
    output = [line.replace("=active", "=inactive") for line in RUNNING]
    assert Readings().process([*output, "Read=", "1795469394.000000 /a", "Kept=yes"]) == Reading()


def test_what_a_unit_has_read_is_asked_in_real_words(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("x\n")
    lines = sh(Readings().command(unit="no-such-unit.service", paths=(str(file), "/gone")))
    assert lines[0].startswith("now ")
    assert [line.split(" ", 1)[1] for line in lines if line.endswith("a file")] == [str(file)]
    digests = [line for line in lines if line.startswith("Digest=")]
    file.write_text("y\n")
    again = sh(Readings().command(unit="no-such-unit.service", paths=(str(file), "/gone")))
    assert [len(line) for line in digests] == [len("Digest=") + 64]
    assert [line for line in again if line.startswith("Digest=")] != digests


@pytest.mark.parametrize(
    ("output", "age_s", "usable"),
    [
        (["stamp 1000.0", "list", "source 900.5"], 60, True),
        (["stamp 1000.0", "source 900.5"], 60, False),  # there are no lists
        (["stamp 1000.0", "list", "source 900.5", "source 1000.5"], 60, False),
        (["stamp 1000.0", "list", "source 2000.0"], 60, False),  # from before a clock's setting
        (["stamp 2000.0", "list", "source 900.5"], -939, False),
        (["list", "source 900.5"], 1060, False),  # nobody has fetched them
    ],
)
def test_package_lists_fit_the_sources(output: list[str], age_s: int, usable: bool) -> None:
    found = PackageLists().process(["now 1060.5 10.0", *output])
    assert found == Lists(age_s=age_s, usable=usable)


def test_a_source_of_the_future_is_dated_anew_once(tmp_path: Path) -> None:
    stamp, past, future = (tmp_path / name for name in ("stamp", "a.list", "b.sources"))
    for file in (stamp, past, future):
        file.touch()
    os.utime(past, (1000, 1000))
    os.utime(future, (time.time() + 7200,) * 2)
    script = refresh_script().split(" && ", 3)[3]
    sh(script.replace(STAMP, str(stamp)).replace("/etc/apt", str(tmp_path)))
    assert (past.stat().st_mtime, future.stat().st_mtime) == (1000, stamp.stat().st_mtime)


def refresh_script() -> str:
    (script,) = [
        line.strip()
        for line in (GOLDEN / "layer1-debian-13.txt").read_text().splitlines()
        if f"touch {STAMP}" in line
    ][:1]
    return script


@pytest.mark.parametrize(
    ("image", "files", "stale"),
    [
        ("100.5", ["50.0", "100.4"], False),
        ("100.5", ["50.0", "100.6"], True),
        ("2000.0", ["50.0"], True),  # made before the clock was set back
        ("100.5", [], False),
    ],
)
def test_an_initramfs_is_older_than_what_goes_into_it(
    image: str, files: list[str], stale: bool
) -> None:
    lines = [f"image {image} /boot/initrd.img-6", *(f"file {time} /etc/a b" for time in files)]
    found = StaleInitramfs().process(["now 1060.5 10.0", *lines])
    assert found == (["/boot/initrd.img-6"] if stale else [])


@pytest.mark.parametrize(
    ("changed", "fresh"), [("1795465793.4", False), ("1795465793.6", True), ("1795469394.0", True)]
)
def test_a_package_came_after_the_start_of_the_system(changed: str, fresh: bool) -> None:
    output = [
        "now 1795469393.5 7200.0",
        "UserspaceTimestamp=Mon 2026-11-23 20:29:53.500000 UTC",
        "UserspaceTimestampMonotonic=3600000000",
        f"{changed} nvidia-driver",
    ]
    assert InstalledSinceBoot().process(output) == (["nvidia-driver"] if fresh else [])
    assert InstalledSinceBoot().process([]) == []  # a restart is asked for already


PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("bundle", "missing"),
    [
        (PEM.format("other") + PEM.format("ours"), False),
        (PEM.format("other"), True),
        (PEM.format("ours and more"), True),
        ("", True),
        (None, True),
    ],
)
def test_a_certificate_is_trusted_when_it_is_in_the_bundle(
    tmp_path: Path, bundle: str | None, missing: bool
) -> None:
    certificate, place = tmp_path / "our own.crt", tmp_path / "bundle"
    certificate.write_text(PEM.format("ours"))
    if bundle is not None:
        place.write_text(bundle)
    os.utime(certificate, (0, 0))  # as a clock that was set back would date it
    command = Untrusted().command(bundle=str(place), paths=(str(certificate), "/gone"))
    assert sh(command) == ([str(certificate)] if missing else [])


def test_only_whole_packages_are_installed() -> None:
    output = ["ii  bash", "rc  nano", "iU  half", "hi  held"]
    assert Installed().process(output) == {"bash", "held"}


def test_an_upgrade_is_a_plan() -> None:
    assert Upgradable().process(["Reading package lists...", "0 upgraded, 0 newly"]) == []
    assert Upgradable().process(["Inst bash [1] (2 Debian)"]) == ["Inst bash [1] (2 Debian)"]


def test_kernel_settings_skip_what_is_read_only_or_unknown() -> None:
    fact = KernelSettings()
    assert sh(fact.command(names=("no.such_setting",))) == []
    assert fact.process(["net.ipv4.tcp_rmem=4096 131072 6291456"]) == {
        "net.ipv4.tcp_rmem": "4096 131072 6291456"
    }


def test_an_account_is_read_from_three_lines() -> None:
    account = AccountState().process(["/bin/bash", "L", "ada sudo adm"])
    assert account is not None
    assert (account.shell, account.password) == ("/bin/bash", "L")
    assert account.groups == {"ada", "sudo", "adm"}
