"""The administrator's account, and that nobody has a password."""

import base64
import hashlib
import re
import shlex
from pathlib import PurePosixPath

import pytest
from testinfra.host import Host

from cube.config import Spec


@pytest.fixture(scope="module")
def admin(spec: Spec) -> str:
    """The administrator's account name."""
    return spec.admin.user


@pytest.fixture(scope="module")
def states(host: Host) -> dict[str, str]:
    """State of each account's password: L locked, NP none, P set. Source: passwd(1), -S."""
    rows = [line.split() for line in host.check_output("passwd --all --status").splitlines()]
    return {row[0]: row[1] for row in rows}


def test_admin_exists(host: Host, admin: str) -> None:
    assert host.user(admin).exists


def test_admin_has_a_shell(host: Host, admin: str) -> None:
    assert host.user(admin).shell == "/bin/bash"


def test_home_of_admin_belongs_to_admin(host: Host, admin: str) -> None:
    assert host.file(host.user(admin).home).user == admin


def test_home_of_admin_is_closed_to_others(host: Host, admin: str) -> None:
    assert host.file(host.user(admin).home).mode & 0o007 == 0


@pytest.mark.parametrize("group", ["adm", "render", "sudo", "systemd-journal", "video"])
def test_admin_is_in_the_group(host: Host, admin: str, group: str) -> None:
    assert group in host.user(admin).groups


def test_admin_uses_sudo_without_a_password(host: Host, admin: str) -> None:
    assert host.check_output("runuser -u %s -- sudo -n id -u", admin) == "0"


def fingerprint(key: str) -> str:
    """Return what ssh-keygen prints of a public key. Source: OpenSSH, sshkey.c, fingerprint_b64."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


@pytest.fixture(scope="module")
def key_files(host: Host, admin: str) -> list[str]:
    """Where sshd looks for the administrator's keys.

    Source: sshd(8), -T, -C; sshd_config(5), AuthorizedKeysFile and TOKENS.
    """
    account = host.user(admin)
    asked = "mkdir -p /run/sshd; sshd -T -C user=%s,host=localhost,addr=127.0.0.1"
    lines = host.check_output(asked, admin).splitlines()
    values: dict[str, str] = {"u": admin, "U": str(account.uid), "h": account.home}
    patterns = [line.split()[1:] for line in lines if line.startswith("authorizedkeysfile ")]
    names = [
        re.sub("%(.)", lambda token: str(values.get(token[1], token[1])), pattern)
        for pattern in patterns[0]
    ]
    return [str(PurePosixPath(account.home, name)) for name in names if name != "none"]


def test_keys_of_the_specification_let_admin_in(
    host: Host, spec: Spec, key_files: list[str]
) -> None:
    # ssh-keygen reads the file as sshd does: a key within a comment is none.
    measure = "ssh-keygen -l -E sha256 -f %s"
    present = {word for file in key_files for word in host.run(measure, file).stdout.split()}
    keys = {fingerprint(key): key for key in spec.admin.ssh_keys}
    assert [key for digest, key in keys.items() if digest not in present] == []


def test_sshd_accepts_the_modes_of_the_key_files(
    host: Host, admin: str, key_files: list[str]
) -> None:
    # Source: sshd_config(5), StrictModes: nobody else may write to them.
    home = host.user(admin).home
    folders = {str(PurePosixPath(file).parent) for file in key_files}
    paths = shlex.join(sorted({home, *folders, *key_files}))
    writable = f'for p in {paths}; do [ -e "$p" ] && find "$p" -maxdepth 0 '
    writable += f"'(' -perm /022 -o '(' ! -user {admin} ! -user root ')' ')'; done; true"
    assert host.check_output(writable).split() == []


def test_no_account_is_without_a_password(states: dict[str, str]) -> None:
    assert [name for name, state in states.items() if state == "NP"] == []


def test_no_account_has_a_password_set(states: dict[str, str]) -> None:
    assert [name for name, state in states.items() if state == "P"] == []


def test_only_root_has_the_rights_of_root(host: Host) -> None:
    assert host.check_output("awk -F: '$3 == 0 { print $1 }' /etc/passwd").split() == ["root"]


def test_sudo_rules_are_valid(host: Host) -> None:
    assert host.run("visudo --check --quiet").rc == 0
