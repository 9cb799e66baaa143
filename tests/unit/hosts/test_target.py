"""Which box a word names, and how it is reached."""

import os
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.hosts import target
from cube.hosts.target import Box
from cube.machines import Endpoint, record, ssh
from cube.machines.address import Address
from cube.machines.record import MachineRecord
from cube.runtime import run
from cube.runtime.errors import CubeError, HostError

HOSTS = """
[build]
dir = "build"
[hosts.desk1]
address = "192.0.2.10"
port = 2222
user = "anna"
key = "id_box"
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Spec:
    (tmp_path / "id_box").touch()
    return config.load_text(HOSTS, tmp_path / "cube.toml")


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("anna@desk", Address(name="anna@desk", host="desk", user="anna")),
        ("anna@desk:2222", Address(name="anna@desk:2222", host="desk", port=2222, user="anna")),
        ("ssh://desk", Address(name="desk", host="desk")),
        ("ssh://anna@desk:1/", Address(name="anna@desk:1", host="desk", port=1, user="anna")),
        (
            "a@[2001:db8::1]:9",
            Address(name="a@[2001:db8::1]:9", host="2001:db8::1", port=9, user="a"),
        ),
        (
            "ssh://a@desk?ssh_identity_file=/k&known_hosts=/h",
            Address(name="a@desk", host="desk", user="a", key=Path("/k"), known_hosts=Path("/h")),
        ),
    ],
)
def test_an_address_is_given_ad_hoc(word: str, address: Address) -> None:
    assert target.parse(word) == address


@pytest.mark.parametrize(
    "word",
    ["anna@", "anna@desk:port", "anna@desk:99999", "anna:secret@desk", "ssh://", "docker://desk",
     "anna@desk/path", "ssh://desk?identity=/k", "ssh://a@[::1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(word: str) -> None:
    with pytest.raises(CubeError) as caught:
        target.parse(word)
    assert word.replace("anna:secret", "***") in caught.value.message
    assert caught.value.hint == target.FORMS


def test_a_box_of_the_specification_has_its_key(loaded: Spec) -> None:
    box = target.find(loaded, "desk1")
    access = box.endpoint
    assert (box.name, box.building) == ("desk1", False)
    assert (access.host, access.port, access.user) == ("192.0.2.10", 2222, "anna")
    assert access.key_file == loaded.file.parent / "id_box"


def test_a_machine_that_was_left_up_is_one_of_the_pipeline(loaded: Spec) -> None:
    endpoint = Endpoint(
        host="127.0.0.1", port=1, user="cube-build", key_file=Path("/k"), known_hosts=Path("/h")
    )
    folder = Workspace.of(loaded).machines / "up"
    folder.mkdir(parents=True)
    me = record.identify(os.getpid())
    record.write(
        MachineRecord(
            name="up",
            kind="container",
            disk=Path("/d"),
            run_dir=folder,
            endpoint=endpoint,
            owner=me,
            detached=True,
            life=me,
        )
    )
    assert target.find(loaded, "up") == Box(name="up", endpoint=endpoint, building=True)


def test_an_unknown_name_is_told_with_the_known_ones(loaded: Spec) -> None:
    with pytest.raises(CubeError) as caught:
        target.find(loaded, "desk2")
    assert caught.value.message == "no host is called desk2 (known: desk1)"


def test_openssh_says_where_an_alias_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ssh(
        tmp_path,
        monkeypatch,
        "host desk\nhostname fe80::7%eth0\nport 44\nuser eve\nidentityfile ~/.ssh/id_%h\n"
        "proxyjump gate\nstricthostkeychecking true",
    )
    access = target.locate(Address(name="x", host="desk", become="su")).endpoint
    assert (access.host, access.port, access.user) == ("fe80::7%eth0", 44, "eve")
    assert (access.alias, access.key_file, access.known_hosts) == ("desk", None, None)
    assert (access.strict, access.rights.become) == (True, "su")


def test_a_key_that_is_not_there_is_named() -> None:
    with pytest.raises(HostError) as caught:
        target.locate(Address(name="x", host="desk", key=Path("/nowhere/id")))
    assert caught.value.message == "x: there is no key /nowhere/id"
    assert "ssh_identity_file=FILE" in caught.value.hint


def fake_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: str) -> None:
    """Put a program called ssh first, which prints settings."""
    (folder / "settings").write_text(settings + "\n")
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec cat {folder}/settings\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::5", "fe80::1%eth0"])
def test_the_settings_of_openssh_are_read(host: str, tmp_path: Path) -> None:
    key = tmp_path / "k"
    key.touch()
    found = target.locate(Address(name="x", host=host, port=7, user="u", key=key)).endpoint
    assert (found.host, found.port, found.user, found.key_file) == (host, 7, "u", key)
    assert ssh.ssh_args(found)[-1] == f"u@{host}"
    shown = run.run([*ssh.program_args(found, connect_s=5)[:-1], "-G", f"u@{host}"]).stdout
    for line in (f"hostname {host}", "port 7", "user u", f"identityfile {key}"):
        assert line in shown.splitlines()
