"""Nothing in the image makes two machines think that they are the same one."""

import re

import pytest

from checks.hygiene.tree import Tree
from cube.config import Spec


def test_machine_id_is_made_at_the_first_boot(image: Tree) -> None:
    # Source: machine-id(5), "First Boot Semantics"
    assert image.exists("etc/machine-id"), "/etc/machine-id must exist, and be empty"
    assert image.text("etc/machine-id").strip() in ("", "uninitialized")


def test_dbus_has_no_machine_id_of_its_own(image: Tree) -> None:
    assert image.files("var/lib/dbus/machine-id") == []


def test_ssh_host_keys_are_absent(image: Tree) -> None:
    assert image.find("etc/ssh/ssh_host_*") == []


@pytest.mark.parametrize(
    "path",
    [
        "var/lib/systemd/random-seed",
        "boot/efi/loader/random-seed",
        "var/lib/urandom/random-seed",
        "var/lib/systemd/credential.secret",
    ],
)
def test_seed_and_secret_are_absent(image: Tree, path: str) -> None:
    assert image.find(path) == []


def test_dhcp_leases_are_absent(image: Tree) -> None:
    leases = image.files(
        "var/lib/dhcp/*",
        "var/lib/dhcpcd/**",
        "var/lib/NetworkManager/*",
        "var/lib/systemd/network/**",
    )
    assert leases == []


def test_network_configuration_names_no_network_card(image: Tree) -> None:
    mac = re.compile(r"(?i)\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b")
    files = image.files(
        "etc/netplan/*",
        "etc/systemd/network/*",
        "etc/udev/rules.d/*net*",
        "etc/NetworkManager/system-connections/*",
        "etc/network/interfaces*",
    )
    assert [name for name in files if mac.search(image.text(name))] == []


def test_hostname_is_the_one_asked_for(image: Tree, spec: Spec) -> None:
    assert image.lines("etc/hostname") == [spec.image.hostname]


def test_hosts_file_names_the_loopback_only(image: Tree) -> None:
    addresses = {line.split()[0] for line in image.lines("etc/hosts")}
    foreign = {one for one in addresses if not one.startswith(("127.", "::1", "fe00::", "ff0"))}
    assert "127.0.0.1" in addresses
    assert foreign == set()


def test_resolver_knows_no_server_of_the_build_host(image: Tree) -> None:
    servers = [line for line in image.lines("etc/resolv.conf") if line.startswith("nameserver")]
    assert [line for line in servers if "127.0.0.53" not in line] == []


def test_iscsi_initiator_is_named_at_the_first_boot(image: Tree) -> None:
    # Source: iscsi-iname(8); Debian's postinst writes GenerateName=yes for that.
    named = [
        line
        for line in image.lines("etc/iscsi/initiatorname.iscsi")
        if line.startswith("InitiatorName=")
    ]
    assert named == []
