"""Where checks knock, and whether the owner lets everybody in."""

import pytest

from checks.layer1.owner_rules import restricted
from checks.layer1.ssh_listeners import Listener, parse


@pytest.mark.parametrize(
    ("text", "address", "local", "port"),
    [
        ("port 22\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\n", "0.0.0.0", "127.0.0.1", 22),
        ("port 22\nlistenaddress 0.0.0.0:2222\n", "0.0.0.0", "127.0.0.1", 2222),
        ("port 24\nlistenaddress [::]:24\n", "::", "::1", 24),
        ("port 22\nlistenaddress 192.0.2.1:22\n", "192.0.2.1", "192.0.2.1", 22),
        ("listenaddress 192.0.2.1:22\nlistenaddress 0.0.0.0:2222\n", "0.0.0.0", "127.0.0.1", 2222),
        ("Listen=[::]:2222 (Stream)\n", "::", "::1", 2222),
        ("listenaddress 0.0.0.0:22 rdomain vrf0\n", "0.0.0.0", "127.0.0.1", 22),
    ],
)
def test_a_listener_on_all_addresses_comes_first(
    text: str, address: str, local: str, port: int
) -> None:
    found = parse(text)[0]
    assert found == Listener(address=address, port=port)
    assert found.local == local
    assert found.everywhere is (address != "192.0.2.1")


def test_a_port_alone_is_no_listener() -> None:
    assert parse("port 22\n") == []


OPEN = "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"
FROM = "allow tcp 22 0.0.0.0/0 any 192.0.2.0/24 in"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([OPEN], []),
        (["limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in"], []),
        ([FROM], [FROM]),
        ([FROM, OPEN], []),
        (["allow tcp 20:30 0.0.0.0/0 any 0.0.0.0/0 in_eth0"],) * 2,
        (["reject tcp 22,80 0.0.0.0/0 any 0.0.0.0/0 in"],) * 2,
        (["allow tcp 80 0.0.0.0/0 any 192.0.2.0/24 in", "deny any any 0.0.0.0/0 any ::/0 in"], []),
        (["allow tcp 22 0.0.0.0/0 any 192.0.2.0/24 out", "route:deny tcp 22 ::/0 any ::/0 in"], []),
        ([], []),
    ],
)
def test_rules_that_are_not_for_everybody_are_told(rules: list[str], told: list[str]) -> None:
    text = "*filter\n" + "".join(f"\n### tuple ### {rule}\n-A ...\n" for rule in rules)
    assert restricted(text, 22) == told
