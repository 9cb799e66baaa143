"""What kind of machine a guest is, and which checks it can therefore answer."""

from testinfra.host import Host

from cube.runtime import documents

#: Where a box notes which layers it has.
LAYERS = "/var/lib/cube/layers.json"
#: Packages that stand in for others in a test leave a file here: nothing is proven by them.
STAND_INS = "/usr/share/cube/stand-ins"


class Nature:
    """What kind of machine a guest says it is. Source: systemd-detect-virt(1)."""

    def __init__(self, host: Host) -> None:
        container = host.run("systemd-detect-virt --container").rc == 0
        virtual = host.run("systemd-detect-virt").rc == 0
        self.evidence = "container" if container else "vm" if virtual else "hardware"
        if host.run(f"ls {STAND_INS}/*").rc == 0:
            self.evidence = "simulated"
        # 0x10de is NVIDIA. Source: https://pcisig.com/membership/member-companies
        gpu = host.run("grep -qsx 0x10de /sys/bus/pci/devices/*/vendor").rc == 0 and not container
        # A container's root may lack CAP_SYS_RESOURCE; elsewhere that would be a fault.
        limits = not container or host.run("prlimit --memlock=unlimited:unlimited true").rc == 0
        self.layers = recorded(host)
        self.has = {
            "kernel": not container,
            "hardware": not virtual,
            "gpu": gpu,
            "limits": limits,
        }


def recorded(host: Host) -> frozenset[int]:
    """Return the layers that a box says it has; none where its record cannot be read."""
    try:
        layers = documents.parse(host.run(f"cat {LAYERS}").stdout)["layers"]
        return frozenset(map(int, layers))
    except (ValueError, KeyError, TypeError):
        return frozenset()


#: Why a check is put off, by what it needs.
LACKS = {
    "kernel": "a container runs its host's kernel",
    "hardware": "this is a virtual machine or a container",
    "gpu": "there is no NVIDIA GPU",
    "limits": "the host of this container does not let it raise limits",
}
