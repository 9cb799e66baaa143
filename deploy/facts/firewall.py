"""What ufw is set to, from its files: they say the same in every language and while it is off."""

from dataclasses import dataclass

from pyinfra.api import FactBase

#: Print the state, ``policy INPUT DROP``, and ``rule allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in``.
#: Source: ufw-init-functions, ufw_start; ufw/backend_iptables.py, _write_rules.
ASK = r"""
LC_ALL=C.UTF-8 ufw status | head -n 1
sed -n -E 's/^DEFAULT_(INPUT|OUTPUT)_POLICY="?([A-Z]+)"?.*/policy \1 \2/p' /etc/default/ufw
cat /etc/ufw/user.rules /etc/ufw/user6.rules 2>/dev/null | sed -n 's/^### tuple ### */rule /p'
"""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule for what comes in.

    Args:
        action: allow, limit, deny or reject.
        protocol: tcp, udp or any.
        ports: as ufw writes them: "22", "22,2222", "6000:6007" or "any".
    """

    action: str
    protocol: str
    ports: str

    def names(self, port: int) -> bool:
        """Tell whether the rule is for this TCP port, among others or alone."""
        if self.protocol not in {"tcp", "any"} or self.ports == "any":
            return False
        ranges = [part.split(":") for part in self.ports.split(",")]
        return any(int(ends[0]) <= port <= int(ends[-1]) for ends in ranges)

    @property
    def lets_in_everywhere(self) -> bool:
        """Whether the rule lets an address, a network or an interface in on every port."""
        admits = self.action in {"allow", "limit"}
        return admits and self.ports == "any" and self.protocol in {"tcp", "any"}


@dataclass(frozen=True, kw_only=True)
class State:
    """The firewall. A policy is ACCEPT, DROP or REJECT; empty when it is not known."""

    active: bool = False
    incoming: str = ""
    outgoing: str = ""
    rules: tuple[Rule, ...] = ()


class Firewall(FactBase[State]):
    """State, policies and rules of ufw."""

    def requires_command(self) -> str:
        """Name the program."""
        return "ufw"

    def command(self) -> str:
        """Ask ufw for its state and its files for the rest."""
        return ASK

    @staticmethod
    def default() -> State:
        """Return a firewall that is off."""
        return State()

    def process(self, output: list[str]) -> State:
        """Read the lines."""
        rows = [line.split() for line in output]
        policies = {row[1]: row[2] for row in rows if row[:1] == ["policy"]}
        return State(
            active="Status: active" in output,
            incoming=policies.get("INPUT", ""),
            outgoing=policies.get("OUTPUT", ""),
            rules=tuple(rule for row in rows if row[:1] == ["rule"] if (rule := parse_rule(row))),
        )


def parse_rule(row: list[str]) -> Rule | None:
    """Read the words of one rule; None for one of what goes out or is passed on.

    The direction is the last word, before a comment; rules of old files have none and are for
    what comes in. A log type follows the action: "allow_log".
    """
    words = [word for word in row[1:] if not word.startswith("comment=")]
    action, protocol, ports = words[:3]
    outgoing = len(words) in {7, 9} and words[-1].split("_")[0] == "out"
    if outgoing or action.startswith("route:"):
        return None
    return Rule(action=action.split("_")[0], protocol=protocol, ports=ports)
