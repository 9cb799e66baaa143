"""Rules of ufw that somebody has made for a port."""

#: Everybody, as ufw writes it. Source: ufw/backend_iptables.py, _write_rules.
ALL = {"0.0.0.0/0", "::/0"}
RULE = "### tuple ### "


def restricted(text: str, port: int) -> list[str]:
    """Return the rules for a port that let in not everybody, or nobody; none beside one that does.

    Args:
        text: of ufw's files of rules.
        port: of TCP.
    """
    lines = [line.removeprefix(RULE) for line in text.splitlines() if line.startswith(RULE)]
    ours = [line for line in lines if is_for(line.split(), port)]
    return [] if any(is_open(line.split()) for line in ours) else ours


def is_for(words: list[str], port: int) -> bool:
    """Tell whether a rule for what comes in names a port: alone, in a list or in a range."""
    action, protocol, ports = words[:3]
    if action.startswith("route:") or "out" in words[6:] or protocol == "udp" or ports == "any":
        return False
    ends = [[int(end) for end in part.split(":")] for part in ports.split(",")]
    return any(pair[0] <= port <= pair[-1] for pair in ends)


def is_open(words: list[str]) -> bool:
    """Tell whether a rule lets everybody in, through every interface."""
    action, _, _, to, _, source = words[:6]
    interfaces = any(word.startswith(("in_", "out_")) for word in words[6:])
    return action.split("_")[0] in {"allow", "limit"} and {to, source} <= ALL and not interfaces
