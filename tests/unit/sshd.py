"""An SSH server that lets one key in and says "hello" to every command."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED


class Door(paramiko.ServerInterface):
    """Lets one key in, and grants a session after some seconds."""

    def __init__(self, key: str, session_after_s: float) -> None:
        self.key = key
        self.session_after_s = session_after_s

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        fits = key.get_base64() == self.key
        return int(AUTH_SUCCESSFUL if fits else AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        time.sleep(self.session_after_s)
        return int(OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:  # noqa: ARG002
        threading.Thread(target=answer, args=(channel,), daemon=True).start()
        return True


def answer(channel: paramiko.Channel) -> None:
    channel.sendall(b"hello\n")
    channel.send_exit_status(0)
    channel.close()


@contextlib.contextmanager
def serving(public_key: Path, *, session_after_s: float = 0) -> Iterator[int]:
    """A port on loopback whose server lets this key in."""
    host_key = paramiko.ECDSAKey.generate()
    door = Door(public_key.read_text().split()[1], session_after_s)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    transport = paramiko.Transport(client)
                    transport.add_server_key(host_key)
                    with contextlib.suppress(paramiko.SSHException, EOFError):
                        transport.start_server(server=door)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
