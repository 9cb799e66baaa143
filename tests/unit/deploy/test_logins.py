"""Keys that log in, in the files that sshd is told to read."""

import getpass
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.facts.logins import AuthorizedKeys, LoginKeys, ShortRsaKeys, bare_key
from deploy.operations import accounts

KEY = "ssh-ed25519 AAAA ada@desk"


def tools(folder: Path, *, keys_file: str = "", **more: str) -> Mapping[str, str]:
    """Fakes of sshd and others by their lines of shell; return the environment with them."""
    setting = f"echo 'port 22'; echo 'authorizedkeysfile {keys_file}'" if keys_file else "exit 1"
    for name, text in {"sshd": setting, **more}.items():
        tool = folder / name
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def sh(script: str, env: Mapping[str, str]) -> list[str]:
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=env)
    return done.stdout.splitlines()


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
    found = AuthorizedKeys().process(["account", "file /a", f"line {line}"])
    assert found == LoginKeys(files=("/a",), keys=frozenset({key} - {""}), known=True)


@pytest.mark.parametrize(
    ("keys_file", "names"),
    [
        ("", ["{home}/.ssh/authorized_keys"]),
        (".ssh/authorized_keys .ssh/authorized_keys2",
         ["{home}/.ssh/authorized_keys", "{home}/.ssh/authorized_keys2"]),
        ("/etc/ssh/keys/%u %h/my%%keys/%U", ["/etc/ssh/keys/ada", "{home}/my%keys/1234"]),
        ("/srv/%%u/%u*", ["/srv/%u/ada*"]),
        ("none", []),
    ],
)  # fmt: skip
def test_sshd_says_where_it_looks_for_keys(
    keys_file: str, names: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "the home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/authorized_keys").write_text(f"# mine\n{KEY}\nssh-rsa BBBB")
    env = tools(tmp_path, keys_file=keys_file, getent=f"echo 'ada:x:1234:5::{home}:/bin/sh'")
    fact = AuthorizedKeys()
    found = fact.process(sh(fact.command(user="ada"), env))
    assert found.known
    assert list(found.files) == [name.format(home=home) for name in names]
    read = str(home / ".ssh/authorized_keys") in found.files
    assert found.keys == ({"ssh-ed25519 AAAA", "ssh-rsa BBBB"} if read else set())


def test_an_account_that_is_not_there_yet_has_no_files(tmp_path: Path) -> None:
    fact = AuthorizedKeys()
    env = tools(tmp_path, keys_file="/keys/%u", getent="exit 2")
    assert fact.process(sh(fact.command(user="ada"), env)) == LoginKeys()


def test_a_key_goes_to_the_file_that_sshd_reads_first(tmp_path: Path) -> None:
    file = tmp_path / "the keys" / "me"
    user = getpass.getuser()
    for keys in ([KEY], ["ssh-rsa BBBB"]):
        sh(accounts.add_keys(user, str(file), keys), os.environ)
    assert file.read_text() == f"{KEY}\nssh-rsa BBBB\n"
    file.chmod(0o440)
    sh(accounts.add_keys(user, str(file), ["ssh-rsa CCCC"]), os.environ)
    assert file.stat().st_mode & 0o777 == 0o440  # the owner's choice
    assert [path.name for path in file.parent.iterdir()] == ["me"]


@pytest.mark.parametrize(
    ("found", "does"),
    [
        (LoginKeys(), "file=~ada/.ssh/authorized_keys;"),
        (LoginKeys(files=("/keys/ada",), known=True), "file=/keys/ada;"),
        (LoginKeys(known=True), "AuthorizedKeysFile none"),
    ],
)
def test_where_no_file_is_read_a_key_is_refused(
    found: LoginKeys, does: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Host:
        def get_fact(self, *_: object, **__: object) -> LoginKeys:
            return found

    monkeypatch.setattr(accounts, "host", Host())
    (command,) = accounts.authorized_keys._inner(user="ada", keys=[KEY])
    assert does in command


@pytest.mark.parametrize("keys_file", ["", ".ssh/authorized_keys"])
def test_rsa_keys_that_are_short_are_named(keys_file: str, tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("ada", "bob", "eve")]
    for home, words in zip(
        homes, (["rsa", "2048"], ["ed25519", "256"], ["rsa", "3072"]), strict=True
    ):
        (home / ".ssh").mkdir(parents=True)
        kind, bits = words
        key = home / "key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", "", "-f", key], check=True
        )
        text = f"# mine\nno-pty {key.with_suffix('.pub').read_text()}"
        (home / ".ssh/authorized_keys").write_text(text)
    lines = "".join(f"{home.name}:x:1:1::{home}:/bin/sh\\n" for home in homes)
    env = tools(tmp_path, keys_file=keys_file, getent=f"printf '{lines}'")
    fact = ShortRsaKeys()
    found = fact.process(sh(fact.command(bits=3072), env))
    assert list(found.values()) == [2048]
    assert next(iter(found)).startswith(f"{tmp_path}/ada/.ssh/authorized_keys SHA256:")
