"""Which box a word names, and how it is reached."""

import os
import shutil
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.hosts import remote, target
from cube.hosts.target import Box
from cube.machines import Endpoint, record
from cube.machines.address import Address
from cube.machines.record import MachineRecord
from cube.runtime.errors import CubeError, HostError, MachineError
from cube.runtime.run import Completed

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
    (box,) = target.find(loaded, "desk1")
    access = box.endpoint
    assert (box.name, box.building) == ("desk1", False)
    assert (access.host, access.port, access.user) == ("192.0.2.10", 2222, "anna")
    assert access.key_file.name == "id_box"


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
    assert target.find(loaded, "up") == [Box(name="up", endpoint=endpoint, building=True)]


def test_an_unknown_name_is_told_with_the_known_ones(loaded: Spec) -> None:
    with pytest.raises(CubeError) as caught:
        target.find(loaded, "desk2")
    assert caught.value.message == "no host is called desk2 (known: desk1)"


def test_every_key_that_is_there_is_a_way_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("id_rsa", "id_ed25519", "known_hosts2"):
        (tmp_path / name).touch()
    fake_ssh(
        tmp_path,
        monkeypatch,
        "hostname 192.0.2.7\nport 44\nuser eve\n"
        f"identityfile {tmp_path}/id_rsa\nidentityfile {tmp_path}/id_none\n"
        f"identityfile {tmp_path}/id_ed25519\n"
        f"userknownhostsfile {tmp_path}/known_hosts {tmp_path}/known_hosts2",
    )
    ways = target.locate(Address(name="x", host="desk"))
    assert [way.endpoint.key_file.name for way in ways] == ["id_rsa", "id_ed25519"]
    assert {(way.endpoint.host, way.endpoint.port, way.endpoint.user) for way in ways} == {
        ("192.0.2.7", 44, "eve")
    }
    assert ways[0].endpoint.known_hosts.name == "known_hosts2"


@pytest.mark.parametrize(
    ("more", "message", "hint"),
    [
        ("proxyjump gate", "by proxyjump, cube does not", "forward a port"),
        ("proxycommand nc %h %p", "by proxycommand, cube does not", "forward a port"),
        ("identityfile /nowhere/id", "no key to log in with", "ssh_identity_file=FILE"),
    ],
)
def test_a_way_that_cannot_be_gone_is_told(
    more: str, message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ssh(tmp_path, monkeypatch, f"hostname h\nport 22\nuser u\nuserknownhostsfile /h\n{more}")
    with pytest.raises(HostError) as caught:
        target.locate(Address(name="x", host="desk"))
    assert message in caught.value.message
    assert hint in caught.value.hint


def fake_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: str) -> None:
    """Put a program called ssh first, which prints settings."""
    (folder / "settings").write_text(settings + "\n")
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec cat {folder}/settings\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


def test_the_settings_of_openssh_are_read() -> None:
    assert shutil.which("ssh")
    boxes = target.locate(Address(name="x", host="192.0.2.1", port=7, user="u", key=Path("/k")))
    assert [(box.endpoint.host, box.endpoint.port, box.endpoint.user) for box in boxes] == [
        ("192.0.2.1", 7, "u")
    ]


def box_of(user: str) -> Box:
    endpoint = Endpoint(
        host="192.0.2.1", port=7, user=user, key_file=Path("/k"), known_hosts=Path("/h")
    )
    return Box(name="desk1", endpoint=endpoint)


@pytest.mark.parametrize(
    ("user", "last"), [("anna", "sudo -n sh -c 'echo a'"), ("root", "sh -c 'echo a'")]
)
def test_scripts_run_as_root_and_nobody_is_asked(user: str, last: str) -> None:
    argv = remote.login_args(box_of(user), "echo a")
    assert argv[-2:] == [f"{user}@192.0.2.1", last]
    assert "BatchMode=yes" in argv


@pytest.mark.parametrize(
    ("code", "stderr", "message"),
    [
        (
            255,
            "Permission denied (publickey).\n",
            "cannot log in as anna@192.0.2.1:7: Permiss",
        ),
        (255, "", "cannot log in as anna@192.0.2.1:7: exit code 255"),
        (1, "sudo: a password is required\n", "cannot use sudo without a password"),
    ],
)
def test_a_closed_door_is_told(code: int, stderr: str, message: str) -> None:
    with pytest.raises(MachineError) as caught:
        remote.refuse_login(box_of("anna"), Completed(returncode=code, stdout="", stderr=stderr))
    assert message in caught.value.message


def test_a_script_that_fails_is_no_closed_door() -> None:
    remote.refuse_login(box_of("anna"), Completed(returncode=1, stdout="", stderr="no such file\n"))


def test_nobody_answers(tmp_path: Path) -> None:
    endpoint = Endpoint(
        host="127.0.0.1", port=9, user="u", key_file=tmp_path / "k", known_hosts=tmp_path / "h"
    )
    with pytest.raises(MachineError) as caught:
        remote.reach([Box(name="desk1", endpoint=endpoint)])
    assert "desk1: cannot log in as u@127.0.0.1:9" in caught.value.message
    assert "Connection refused" in caught.value.message
    assert caught.value.hint.startswith("try: ssh -p 9 ")
