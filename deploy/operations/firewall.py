"""The firewall: ufw, from what it says of itself."""

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.firewall import Firewall, State
from deploy.facts.sshd import ConnectionPort, SshPorts
from deploy.facts.systemd import Readings
from deploy.operations.systemd import reading

#: The port of SSH where nothing on the host tells another one. Source: RFC 4253, 4.1.
STANDARD = 22
#: Policies that refuse what no rule lets in. Source: /etc/default/ufw.
REFUSING = ("DROP", "REJECT")


@operation()
def deny_all_but_ssh(files: Sequence[str]) -> Generator[str, None, None]:
    """Refuse what comes in except SSH, let out what goes out, and turn the firewall on.

    Every port of sshd is opened, and the one that we came in by: a firewall must not lock out who
    sets it up. What the owner has set stays: rules, a refusing policy for what comes in, and any
    policy for what goes out of a firewall that is on.

    Args:
        files: what ufw reads besides its rules; it is restarted when it has not read one.
    """
    state: State = host.get_fact(Firewall)
    for port in ssh_ports():
        if not is_settled(state, port):
            yield f"ufw allow {port}/tcp comment SSH"
    if state.incoming not in REFUSING:
        yield "ufw default deny incoming"
    if state.outgoing != "ACCEPT" and not state.active:
        yield "ufw default allow outgoing"
    if not state.active:
        yield "ufw --force enable"
    if host.get_fact(Readings, unit="ufw.service", paths=tuple(files)).unread:
        yield reading("ufw.service", files)


def ssh_ports() -> list[int]:
    """Return the ports of sshd, and the one by which we are connected."""
    ours = host.get_fact(ConnectionPort, _sudo=False)
    return sorted({*host.get_fact(SshPorts), *ours}) or [STANDARD]


def is_settled(state: State, port: int) -> bool:
    """Tell whether the owner has a rule for a port, or lets somebody in on every port.

    The latter counts for a firewall that refuses the rest already: we came in through it.
    """
    refusing = state.active and state.incoming in REFUSING
    return any(rule.names(port) or (refusing and rule.lets_in_everywhere) for rule in state.rules)
