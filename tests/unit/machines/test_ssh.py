import socket
from pathlib import Path

import pytest

from cube.machines import Endpoint, address, ssh
from cube.runtime import run
from cube.runtime.errors import MachineError
from tests.unit import sshd
from tests.unit.greeter import make_endpoint, serving


def test_client_command_uses_the_machines_own_known_hosts(tmp_path: Path) -> None:
    assert ssh.ssh_args(make_endpoint(tmp_path, 2222)) == [
        "ssh",
        "-F",
        "none",
        "-p",
        "2222",
        "-i",
        f"{tmp_path}/key",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        f"UserKnownHostsFile={tmp_path}/known_hosts",
        "cube-build@127.0.0.1",
    ]


def test_key_is_ed25519_and_private(tmp_path: Path) -> None:
    line = ssh.make_key(tmp_path / "keys" / "id")
    assert line.startswith("ssh-ed25519 AAAA")
    assert (tmp_path / "keys/id").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys/id.pub").read_text().strip() == line


def test_key_is_made_anew(tmp_path: Path) -> None:
    assert ssh.make_key(tmp_path / "id") != ssh.make_key(tmp_path / "id")


def test_closed_port_is_one_clear_error(tmp_path: Path) -> None:
    ssh.make_key(tmp_path / "key")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        endpoint = make_endpoint(tmp_path, reserved.getsockname()[1])
        with pytest.raises(MachineError, match="cube-build@") as caught:
            ssh.execute(endpoint, "true")
    assert caught.value.hint.startswith("try: ssh -F none -p")


def test_server_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    ssh.make_key(tmp_path / "key")
    with serving(b"HTTP/1.1 400\r\n") as port, pytest.raises(MachineError):
        ssh.execute(make_endpoint(tmp_path, port), "true")


ODD = [
    "plain",
    "a blank",
    "100%",
    "%d",
    "%%h",
    "it's",
    'say "x"',
    "back\\slash",
    "#no comment",
    "$HOME",
    "é",
    "a;b&c|d",
    "~",
    "-o",
    "tab\tx",
    "b %d 'q' \"x\" \\",
]


@pytest.mark.parametrize("name", ODD)
def test_openssh_finds_key_and_host_keys_whatever_the_path(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    ssh.make_key(folder / "the key")
    with sshd.serving(folder / "the key.pub") as port:
        access = Endpoint(
            host="127.0.0.1",
            port=port,
            user="cube",
            key_file=folder / "the key",
            known_hosts=folder / "known hosts",
        )
        argv = [*ssh.program_args(access, connect_s=10), "true"]
        assert run.run(argv, timeout_s=60).stdout == "hello\n"
        assert (folder / "known hosts").read_text().startswith(f"[127.0.0.1]:{port} ")
        again = address.plain_endpoint(address.parse(address.of(access).url))
        argv = [*ssh.program_args(again, connect_s=10), "true"]
        assert run.run(argv, timeout_s=60).stdout == "hello\n"


def test_keys_may_be_exchanged_later_than_the_port_must_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two guests without KVM that start at a time take more than 10 s for it."""
    monkeypatch.setattr(ssh, "CONNECT_S", 0.5)
    ssh.make_key(tmp_path / "key")
    with sshd.serving(tmp_path / "key.pub", sshd.Login(keys_after_s=1)) as port:
        endpoint = make_endpoint(tmp_path, port)
        assert ssh.execute(endpoint, "true", timeout_s=20).stdout == "hello\n"
        monkeypatch.setattr(ssh, "ANSWER_S", 0.5)
        with pytest.raises(MachineError, match="did not exchange keys within"):
            ssh.execute(endpoint, "true", timeout_s=20, attempts=1)


def test_a_session_may_come_as_late_as_the_command_may_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest under load starts the account's manager first; paramiko would give up before."""
    monkeypatch.setattr(ssh, "ANSWER_S", 0.2)
    ssh.make_key(tmp_path / "key")
    with sshd.serving(tmp_path / "key.pub", sshd.Login(session_after_s=1)) as port:
        endpoint = make_endpoint(tmp_path, port)
        assert ssh.execute(endpoint, "true", timeout_s=20).stdout == "hello\n"
        with pytest.raises(MachineError, match="Timeout opening channel"):
            ssh.execute(endpoint, "true", timeout_s=0.5)
