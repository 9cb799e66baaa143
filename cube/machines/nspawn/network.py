"""User-mode networking for a cell, and ports on loopback."""

import json
import socket
from pathlib import Path

from cube.runtime import run
from cube.runtime.errors import MachineError
from cube.runtime.namespaces import Cell, wait_until

#: The NIC's name in the container: an image that configures en* works there as in a VM.
NIC = "enp0s1"
#: What libslirp's DHCP server gives to the first NIC, and its largest MTU. Source: slirp4netns(1).
GUEST_ADDRESS = "10.0.2.15"
MTU = 65520
#: Seconds for slirp4netns to answer; it takes milliseconds.
ANSWER_S = 10.0


def slirp_args(pid: int, socket_file: Path) -> list[str]:
    """Build the command that joins the network of the cell with first process `pid` to ours."""
    return [
        "slirp4netns",
        "--netns-type=path",
        f"--mtu={MTU}",
        "--api-socket",
        str(socket_file),
        f"/proc/{pid}/ns/net",
        NIC,
    ]


def free_port() -> int:
    """Return a port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def render_forward(port: int) -> str:
    """Build slirp4netns' request to forward a port of loopback to the guest's sshd."""
    arguments = {
        "proto": "tcp",
        "host_addr": "127.0.0.1",
        "host_port": port,
        "guest_addr": GUEST_ADDRESS,
        "guest_port": 22,
    }
    return json.dumps({"execute": "add_hostfwd", "arguments": arguments})


def connect(cell: Cell, scratch: Path, log_file: Path) -> int:
    """Give a cell a network, and its sshd a port on loopback.

    Args:
        cell: the cell.
        scratch: folder of the cell's own. Seen through /proc its path is short: a socket's
            path has at most 107 bytes. Source: unix(7).
        log_file: what slirp4netns says.

    Returns:
        The port.

    Raises:
        MachineError: slirp4netns does not serve.
    """
    socket_file = cell.path(scratch / "slirp.sock")
    cell.execute(["ip", "link", "set", "lo", "up"])
    argv = slirp_args(cell.pid, socket_file)
    server = cell.launch(argv, output=log_file, life_only=True)
    if not wait_until(socket_file.is_socket, server, ANSWER_S):
        tail = run.tail(log_file.read_text(errors="replace"))
        raise MachineError("slirp4netns does not serve the container's network", details=tail)
    port = free_port()
    answer = _ask(socket_file, render_forward(port))
    if "return" not in answer:
        raise MachineError(f"port {port} could not be forwarded: {answer}")
    return port


def _ask(socket_file: Path, request: str) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_S)
        client.connect(str(socket_file))
        client.sendall(request.encode())
        client.shutdown(socket.SHUT_WR)
        answer: dict[str, object] = json.loads(client.recv(65536))
        return answer
