"""A port that greets as an sshd does, or not."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

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
def serving(greeting: bytes, times: int | None = None) -> Iterator[int]:
    """A port that greets with these bytes and closes; with none it keeps silent.

    `times` is how many connections it greets, before it keeps silent.
    """
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    held.append(client)
                    if greeting and (times is None or len(held) <= times):
                        client.sendall(greeting)
                        client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for client in held:
        client.close()
