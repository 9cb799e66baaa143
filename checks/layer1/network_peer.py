"""A machine on the other end of a wire: what others can reach is tried, not read from files."""

from collections.abc import Iterator
from dataclasses import dataclass

from testinfra.backend.base import CommandResult
from testinfra.host import Host

#: Network name space and wire that the checks make on the box, and remove.
SPACE = "cube-check"
WIRE = "cubecheck"
#: Addresses of IPv6; empty or missing where the kernel has none. Source: proc_net(5).
KERNEL_IPV6 = "/proc/net/if_inet6"


@dataclass(frozen=True, kw_only=True)
class Net:
    """A network between the box and the stranger."""

    box: str
    stranger: str
    bits: int

    @property
    def flags(self) -> str:
        """Make an IPv6 address usable at once. Source: ip-address(8), nodad."""
        return "nodad" if ":" in self.box else ""

    def add(self, end: str, address: str, *, space: str = "") -> str:
        """Return the command that gives an end of the wire its address, where the kernel can.

        Args:
            end: the device.
            address: of this end.
            space: network name space of this end; empty for the box's own.
        """
        where = f"-n {space} " if space else ""
        line = f"ip {where}address add {address}/{self.bits} dev {end} {self.flags}"
        return f"{{ {line} || ! grep -q . {KERNEL_IPV6} 2>/dev/null; }}" if ":" in address else line


#: Source: RFC 5737 and RFC 3849, addresses for documentation: no real machine has them. The
#: private one stands for a neighbour on the desk's own network (RFC 1918).
NETS = {
    "internet": Net(box="198.51.100.1", stranger="198.51.100.2", bits=24),
    "private network": Net(box="10.77.213.1", stranger="10.77.213.2", bits=24),
    "ipv6": Net(box="2001:db8:77::1", stranger="2001:db8:77::2", bits=64),
}
#: From here the stranger knocks until fail2ban shuts the door, by the account that is tried: one
#: that does not exist, and the one that always does. Source: RFC 5737.
BURGLARS = {
    "nobody-at-all": Net(box="192.0.2.1", stranger="192.0.2.77", bits=25),
    "root": Net(box="192.0.2.129", stranger="192.0.2.177", bits=25),
}

OPEN_WIRE = " && ".join(
    [
        f"ip netns add {SPACE}",
        f"ip link add {WIRE}0 type veth peer name {WIRE}1 netns {SPACE}",
        f"ip link set {WIRE}0 up",
        f"ip -n {SPACE} link set lo up",
        f"ip -n {SPACE} link set {WIRE}1 up",
        *(
            line
            for net in [*NETS.values(), *BURGLARS.values()]
            for line in (
                net.add(f"{WIRE}0", net.box),
                net.add(f"{WIRE}1", net.stranger, space=SPACE),
            )
        ),
    ]
)
CLOSE_WIRE = f"ip link del {WIRE}0 2>/dev/null; ip netns del {SPACE} 2>/dev/null; true"


#: Opens a TCP connection within two seconds. Arguments: address, port, own address.
CONNECT = "import socket, sys; socket.create_connection(sys.argv[1:3], 2, (sys.argv[3], 0))"


class Stranger:
    """Somebody who sees the box only through the wire."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, command: str, *arguments: str) -> CommandResult:
        """Run a command in the stranger's place."""
        result: CommandResult = self._host.run(f"ip netns exec {SPACE} {command}", *arguments)
        return result

    def reaches(self, address: str, port: int, *, source: str = "") -> bool:
        """Tell whether a TCP connection opens."""
        tried = self.run("python3 -c %s %s %s %s", CONNECT, address, str(port), source)
        return tried.succeeded is True


def connect(host: Host, address: str, port: int) -> CommandResult:
    """Open a TCP connection from the box itself."""
    result: CommandResult = host.run("python3 -c %s %s %s ''", CONNECT, address, str(port))
    return result


def serve(host: Host, port: int, prefix: str = "") -> Iterator[int]:
    """Run a web server without files for as long as the generator lives."""
    unit = f"cube-check-{port}"
    server = f"{prefix}python3 -m http.server --bind :: --directory /var/empty {port}"
    host.run(f"systemctl stop {unit} 2>/dev/null")
    try:
        started = host.run(
            f"mkdir -p /var/empty && systemd-run -q --collect --unit={unit} {server} && "
            f"for _ in $(seq 100); do {prefix}sh -c 'ss -Hltn sport = :{port}' | grep -q . && "
            "exit 0; sleep 0.1; done; exit 1"
        )
        assert started.rc == 0, f"no server on port {port}: {started.stderr}"
        yield port
    finally:
        host.run(f"systemctl stop {unit}")
