"""An SSH server that lets one key in; it says "hello" to every command, or runs it."""

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

CHUNK = 1 << 16


@dataclass
class Login:
    """What happens at a login: the login shell's words, its variables; and who came.

    Keys are exchanged and a session is granted after some seconds each. With `only`, another key
    than the server's is let in.
    """

    shell: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    keys: list[str] = field(default_factory=list)
    keys_after_s: float = 0
    session_after_s: float = 0
    only: str = ""


class Slow(paramiko.Transport):
    """A server that takes its time for the key exchange."""

    after_s = 0.0

    def _send_kex_init(self) -> None:
        time.sleep(self.after_s)
        super()._send_kex_init()  # type: ignore[misc]


class Door(paramiko.ServerInterface):
    """Lets one key in."""

    def __init__(self, key: str, login: Login) -> None:
        self.key, self.login = key, login

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        self.login.keys.append(key.get_base64())
        fits = key.get_base64() == (self.login.only or self.key)
        return int(AUTH_SUCCESSFUL if fits else AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        time.sleep(self.login.session_after_s)
        return int(OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.login.commands.append(command.decode())
        run = execute if self.login.shell else answer
        arguments = (channel, command.decode(), self.login)
        threading.Thread(target=run, args=arguments, daemon=True).start()
        return True


#: Seconds until an answer comes: paramiko has no word for when it has granted the command.
GRANTED_S = 0.2


def answer(channel: paramiko.Channel, _command: str, _login: Login) -> None:
    time.sleep(GRANTED_S)
    channel.sendall(b"hello\n")
    channel.send_exit_status(0)
    channel.close()


def execute(channel: paramiko.Channel, command: str, login: Login) -> None:
    """Run a command by the login shell, with the channel's streams."""
    words = [*login.shell, command]
    env = {**os.environ, "SSH_CLIENT": "127.0.0.1 1 22", **login.env}
    env.pop("SHLVL", None)
    # Beside gevent's loop, which reaps every child, the exit code must come in another way.
    with tempfile.NamedTemporaryFile() as told:
        code = converse(channel, ["sh", "-c", '"$@"; echo $? >"$0"', told.name, *words], env, told)
    with contextlib.suppress(OSError, EOFError):
        channel.send_exit_status(code)
        channel.close()


def converse(
    channel: paramiko.Channel, words: Sequence[str], env: Mapping[str, str], told: IO[bytes]
) -> int:
    """Run a program with the channel's streams; return the exit code that a file is told."""
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=env) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        feed = threading.Thread(target=feed_input, args=(channel, process.stdin), daemon=True)
        feed.start()
        errors = threading.Thread(
            target=copy, args=(process.stderr.fileno(), channel.sendall_stderr), daemon=True
        )
        errors.start()
        copy(process.stdout.fileno(), channel.sendall)
        errors.join()
        process.wait()
    return int(told.read() or b"255")


def feed_input(channel: paramiko.Channel, stream: IO[bytes]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while chunk := channel.recv(CHUNK):
            stream.write(chunk)
            stream.flush()
    with contextlib.suppress(OSError):
        stream.close()


def copy(number: int, send: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while chunk := os.read(number, CHUNK):
            send(chunk)


@contextlib.contextmanager
def serving(public_key: Path, login: Login | None = None) -> Iterator[int]:
    """A port on loopback whose server lets this key in."""
    login = login or Login()
    host_key = paramiko.ECDSAKey.generate()
    door = Door(public_key.read_text().split()[1], login)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    login.connections += 1
                    transport = Slow(client)
                    transport.after_s = login.keys_after_s
                    transport.add_server_key(host_key)
                    with contextlib.suppress(paramiko.SSHException, EOFError):
                        transport.start_server(server=door)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
