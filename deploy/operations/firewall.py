"""The firewall: ufw, from what it says of itself."""

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.system import Firewall, SshPorts
from deploy.facts.systemd import ConfigNewer


@operation()
def deny_all_but_ssh(files: Sequence[str]) -> Generator[str, None, None]:
    """Refuse what comes in except SSH, let out what goes out, and turn the firewall on.

    Port 22 is opened, and every port that sshd listens on: a firewall must not lock out who
    sets it up. Rules that are there already stay.

    Args:
        files: what ufw reads besides its rules; it is reloaded when one is newer.
    """
    status = host.get_fact(Firewall) or ""
    for port in sorted({22, *host.get_fact(SshPorts)}):
        if not has_rule(status, port):
            yield f"ufw allow {port}/tcp comment SSH"
    if "deny (incoming), allow (outgoing)" not in status:
        yield "ufw default deny incoming && ufw default allow outgoing"
    if not status.startswith("Status: active"):
        yield "ufw --force enable"
    elif host.get_fact(ConfigNewer, unit="ufw.service", paths=tuple(files)):
        yield "systemctl restart ufw.service"


def has_rule(status: str, port: int) -> bool:
    """Find ``22/tcp  ALLOW IN  Anywhere`` in ufw's status."""
    return any(
        line.split()[:4] == [f"{port}/tcp", "ALLOW", "IN", "Anywhere"]
        for line in status.splitlines()
    )
