"""Where sshd listens."""

import re

from pyinfra.api import FactBase

#: sshd's reading of its files, the socket that starts it, and what the running one listens on.
#: With a port in ListenAddress, or with a socket, ``port`` is not where it listens: all count.
#: Source: sshd(8), -T; systemd.socket(5), ListenStream=; ss(8).
ASK = r"""
mkdir -p /run/sshd
sshd -T 2>/dev/null | sed -n -e '/^port /p' -e '/^listenaddress /p'
systemctl --quiet is-active ssh.socket && systemctl show --property=Listen ssh.socket
main=$(systemctl show --property=MainPID --value ssh.service)
ss -Hltnp 2>/dev/null | grep "pid=${main:-0}," | while read -r _ _ _ address _; do
    echo "socket $address"
done; true
"""
#: "port 22", "listenaddress [::]:22", "listenaddress 0.0.0.0:22 rdomain vrf0",
#: "Listen=0.0.0.0:22 (Stream)", "socket *:22".
PORT = re.compile(r"^(?:port |(?:listenaddress |Listen=|socket ).*:)(\d+)\b")


class SshPorts(FactBase[list[int]]):
    """Every port on which sshd listens, or would after a restart; none when nothing tells."""

    def requires_command(self) -> str:
        """Name the program."""
        return "sshd"

    def command(self) -> str:
        """Ask sshd, systemd and the kernel."""
        return ASK

    @staticmethod
    def default() -> list[int]:
        """Return no port."""
        return []

    def process(self, output: list[str]) -> list[int]:
        """Read the numbers."""
        return sorted({int(found[1]) for line in output if (found := PORT.match(line))})


class ConnectionPort(FactBase[list[int]]):
    """The port on the host by which we are connected; none without SSH.

    It is to be asked without sudo, which keeps the variable back. Source: ssh(1), SSH_CONNECTION.
    """

    def command(self) -> str:
        """Print addresses and ports of both ends; the last is the host's."""
        return 'echo "${SSH_CONNECTION:-}"'

    @staticmethod
    def default() -> list[int]:
        """Return no port."""
        return []

    def process(self, output: list[str]) -> list[int]:
        """Read the last word."""
        words = " ".join(output).split()
        return [int(port) for port in words[3:4]]
