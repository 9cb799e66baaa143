"""Facts: what a host prints, and what is made of it."""

import subprocess
from pathlib import Path

import pytest

from deploy.facts.apt import Installed, Lists, Package, PackageLists, Packages, Upgradable
from deploy.facts.files import FileState, FileStates, Stat
from deploy.facts.system import AccountState, AuthorizedKeys, KernelSettings, bare_key
from deploy.facts.systemd import ConfigNewer, Unit, Units, parse_timestamp


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


@pytest.mark.parametrize(
    ("output", "newer"),
    [
        (["Mon 2026-11-23 20:29:53.500000 UTC", "active", "1795465793.400000 /a"], []),
        (["Mon 2026-11-23 20:29:53.500000 UTC", "active", "1795465793.600000 /a"], ["/a"]),
        (["", "inactive", "1795465793.600000 /a"], []),
        (["Mon 2026-11-23 20:29:53.500000 UTC", "active"], []),
    ],
)
def test_a_file_is_newer_to_the_microsecond(output: list[str], newer: list[str]) -> None:
    assert ConfigNewer().process(output) == newer


def test_timestamps_of_systemd_are_utc() -> None:
    assert parse_timestamp("Thu 1970-01-01 00:01:40.250000 UTC") == 100.25


@pytest.mark.parametrize(
    ("output", "lists"),
    [
        (["age 60", "list"], Lists(age_s=60, usable=True)),
        (["age 60"], Lists(age_s=60, usable=False)),
        (["age 60", "list", "newer"], Lists(age_s=60, usable=False)),
    ],
)
def test_package_lists_fit_the_sources(output: list[str], lists: Lists) -> None:
    assert PackageLists().process(output) == lists


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


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("ssh-ed25519 AAAA ada@example", "ssh-ed25519 AAAA"),
        ('from="10.0.0.0/8",no-pty ssh-rsa BBBB x', "ssh-rsa BBBB"),
        ('command="echo \\"ssh-rsa CCCC\\" x" ssh-rsa BBBB', "ssh-rsa BBBB"),
        ("  ssh-ed25519\tAAAA\r", "ssh-ed25519 AAAA"),
        ("sk-ssh-ed25519@openssh.com AAAA= desk", "sk-ssh-ed25519@openssh.com AAAA="),
        ("ssh-ed25519 AAAA mine, not ssh-rsa BBBB", "ssh-ed25519 AAAA"),
        ("# ssh-rsa", ""),
        ("# ssh-rsa BBBB", ""),
        ("#old ssh-rsa BBBB", ""),
        ('cert-authority,principals="ada" ssh-rsa BBBB', ""),
        ('command="x,cert-authority,y" ssh-rsa BBBB', "ssh-rsa BBBB"),
        ("", ""),
    ],
)
def test_a_key_is_compared_without_options_and_comment(line: str, key: str) -> None:
    assert bare_key(line) == key
    assert AuthorizedKeys().process([line]) == ({key} if key else set())
