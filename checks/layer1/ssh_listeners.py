"""Where sshd listens: with a port in ListenAddress, or with a socket, `port` is not the place."""

import re
from dataclasses import dataclass

#: systemd's socket if that is what listens, else sshd's own reading of its files.
#: Source: systemd.socket(5), ListenStream=; sshd(8), -T.
ASK = (
    "if systemctl --quiet is-active ssh.socket; then systemctl show --property=Listen ssh.socket;"
    " else sshd -T; fi"
)
#: "listenaddress [::]:22", "Listen=0.0.0.0:22 (Stream)".
LINE = re.compile(
    r"^(?:listenaddress |Listen=)\[?(?P<address>[^\]\s]+?)\]?:(?P<port>\d+)\b", re.MULTILINE
)
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}


@dataclass(frozen=True, kw_only=True)
class Listener:
    """An address, perhaps any, and a port."""

    address: str
    port: int

    @property
    def everywhere(self) -> bool:
        """Whether it listens on all addresses of the box."""
        return self.address in ANY

    @property
    def local(self) -> str:
        """The address by which the box itself reaches it."""
        return ANY.get(self.address, self.address)


def parse(text: str) -> list[Listener]:
    """Read what `ASK` prints; listeners on all addresses first, those of IPv4 before them."""
    found = [Listener(address=row["address"], port=int(row["port"])) for row in LINE.finditer(text)]
    return sorted(found, key=lambda one: (not one.everywhere, ":" in one.address))
