import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube import ssh
from cube.errors import MachineError
from cube.machines import Endpoint


def make_endpoint(folder: Path, port: int) -> Endpoint:
    return Endpoint(
        host="127.0.0.1",
        port=port,
        user="cube-build",
        key_file=folder / "key",
        known_hosts=folder / "known_hosts",
    )


@contextlib.contextmanager
def serving(greeting: bytes) -> Iterator[int]:
    """A port that greets with these bytes and closes; with none it keeps silent."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    held.append(client)
                    if greeting:
                        client.sendall(greeting)
                        client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for client in held:
        client.close()


def test_client_command_uses_the_machines_own_known_hosts(tmp_path: Path) -> None:
    assert ssh.ssh_args(make_endpoint(tmp_path, 2222)) == [
        "ssh", "-p", "2222", "-i", f"{tmp_path}/key", "-o", "IdentitiesOnly=yes",
        "-o", "StrictHostKeyChecking=accept-new",
        "-o", f"UserKnownHostsFile={tmp_path}/known_hosts", "cube-build@127.0.0.1",
    ]  # fmt: skip


def test_key_is_ed25519_and_private(tmp_path: Path) -> None:
    line = ssh.make_key(tmp_path / "keys" / "id")
    assert line.startswith("ssh-ed25519 AAAA")
    assert (tmp_path / "keys/id").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys/id.pub").read_text().strip() == line


def test_key_is_made_anew(tmp_path: Path) -> None:
    assert ssh.make_key(tmp_path / "id") != ssh.make_key(tmp_path / "id")


def test_wait_ends_at_once_when_the_machine_is_dead(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(MachineError, match="the machine stopped"):
        ssh.wait_for_ssh(make_endpoint(tmp_path, 1), timeout_s=60, alive=lambda: False)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("greeting", "reason"), [(b"", "timed out"), (b"HTTP/1.1 400\r\n", "no SSH server")]
)
def test_deadline_tells_the_last_reason(tmp_path: Path, greeting: bytes, reason: str) -> None:
    with serving(greeting) as port, pytest.raises(MachineError, match="no SSH after 2 s") as caught:
        ssh.wait_for_ssh(make_endpoint(tmp_path, port), timeout_s=2, alive=lambda: True)
    assert reason in caught.value.message


def test_closed_port_is_one_clear_error(tmp_path: Path) -> None:
    ssh.make_key(tmp_path / "key")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        endpoint = make_endpoint(tmp_path, reserved.getsockname()[1])
        with pytest.raises(MachineError, match="cube-build@") as caught:
            ssh.execute(endpoint, "true")
    assert caught.value.hint.startswith("try: ssh -p")


def test_server_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    ssh.make_key(tmp_path / "key")
    with serving(b"HTTP/1.1 400\r\n") as port, pytest.raises(MachineError):
        ssh.execute(make_endpoint(tmp_path, port), "true")
