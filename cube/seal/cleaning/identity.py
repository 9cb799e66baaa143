"""What belongs to one machine: names, keys, seeds, addresses, the network's state."""

from cube.runtime.errors import SealError
from cube.seal.cleaning.tree import Tree

ISCSI = "etc/iscsi/initiatorname.iscsi"
NETWORKS = ("etc/netplan", "etc/systemd/network", "etc/network/interfaces.d")


def clean_identity(tree: Tree) -> None:
    """Remove names and keys of the machine; the first boot makes new ones.

    The machine-id is empty, not "uninitialized": that would make the next boot a first boot,
    which applies presets. Source: machine-id(5); iscsi-iname(8).
    """
    tree.write("etc/machine-id", "")
    tree.remove(
        "var/lib/dbus/machine-id",
        "etc/ssh/ssh_host_*",
        "etc/hostid",
        "etc/nvme/hostnqn",
        "etc/nvme/hostid",
        "etc/popularity-contest.conf",
        "var/cache/pollinate/seeded",
        "var/lib/docker/engine-id",
        "etc/docker/key.json",
    )
    if tree.read(ISCSI):
        tree.write(ISCSI, "GenerateName=yes\n")


def clean_seeds(tree: Tree) -> None:
    """Remove seeds of randomness, secrets, and keys that sign modules for Secure Boot."""
    tree.remove(
        "var/lib/systemd/random-seed",
        "var/lib/urandom/random-seed",
        "boot/efi/loader/random-seed",
        "var/lib/systemd/credential.secret",
        "var/lib/dkms/mok.key",
        "var/lib/dkms/mok.pub",
        "var/lib/cube/mok-password",
        "var/lib/shim-signed/mok/MOK.priv",
        "var/lib/shim-signed/mok/MOK.der",
        "var/lib/private/systemd/timesync/clock",
        "var/lib/systemd/timesync/clock",
    )
    tree.empty("var/lib/systemd/coredump", "var/lib/systemd/pstore", "var/lib/systemd/timers")


def clean_network_state(tree: Tree) -> None:
    """Remove leases, connections, names of network cards and of disks."""
    tree.empty(
        "var/lib/dhcp",
        "var/lib/dhcpcd",
        "var/lib/NetworkManager",
        "var/lib/systemd/network",
        "etc/lvm/archive",
        "etc/lvm/backup",
    )
    tree.remove(
        "etc/dhcpcd.duid",
        "etc/dhcpcd.secret",
        "etc/udev/rules.d/70-persistent-net.rules",
        "etc/udev/rules.d/75-persistent-net-generator.rules",
        "etc/udev/rules.d/85-persistent-net-cloud-init.rules",
        "etc/lvm/devices/system.devices",
        "etc/multipath/wwids",
        "etc/multipath/bindings",
    )


def clean_resolvers(tree: Tree) -> None:
    """Remove the names of the build's resolvers; systemd-resolved makes its file at each boot.

    Raises:
        SealError: /etc/resolv.conf itself names one.
    """
    tree.remove(
        "etc/.resolv.conf.systemd-resolved.bak",
        "etc/resolv.conf.*",
        "etc/resolvconf/run/*",
        "etc/resolvconf/resolv.conf.d/original",
    )
    if tree.path("etc/resolv.conf").is_symlink():
        return
    if any(line.startswith("nameserver") for line in tree.read("etc/resolv.conf").splitlines()):
        raise SealError(
            "/etc/resolv.conf is a file with the resolver of the build",
            hint="let systemd-resolved manage it: it is a link to its file then",
        )


def expect_network(tree: Tree) -> None:
    """Check that the image brings a network configuration of its own.

    Raises:
        SealError: it has none, and would come up without a network.
    """
    if not any(any(tree.files(folder)) for folder in NETWORKS):
        raise SealError(
            "no network configuration is left in /etc/netplan",
            hint="the base and layer 1 bring one: which role removes it?",
        )
