"""Addresses: what is read, what is refused, and that what is written is read again."""

from pathlib import Path
from typing import Any

import pytest

from cube.machines import Endpoint, address
from cube.machines.address import Address


@pytest.mark.parametrize(
    ("text", "host", "port", "user"),
    [
        ("desk", "desk", 0, ""),
        ("anna@desk", "desk", 0, "anna"),
        ("anna@desk:2222", "desk", 2222, "anna"),
        ("ssh://desk/", "desk", 0, ""),
        ("anna@[2001:db8::1]:9", "2001:db8::1", 9, "anna"),
        ("anna@[fe80::1%eth0]", "fe80::1%eth0", 0, "anna"),
        ("anna@192.0.2.10:22", "192.0.2.10", 22, "anna"),
    ],
)
def test_what_is_read_is_written_the_same(text: str, host: str, port: int, user: str) -> None:
    found = address.parse(text)
    assert (found.host, found.port, found.user) == (host, port, user)
    assert str(found) == text.removeprefix("ssh://").removesuffix("/")
    assert address.parse(found.url) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no host"),
        ("anna@", "no host"),
        ("anna@a/b", "more than one"),
        ("https://desk", "no host, or more than one"),
        ("anna:secret@desk", "a password"),
        ("anna@desk:port", "no address"),
        ("anna@[2001:db8::1", "no address"),
        ("anna@desk?key=/k", "unknown option key"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        address.parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "desk.example.org", "::1", "fe80::1%eth0"])
def test_an_endpoint_survives_its_url(host: str, tmp_path: Path) -> None:
    """The checks are given it on their command line."""
    odd = tmp_path / "a key, with&signs"
    endpoint = Endpoint(host=host, port=2222, user="u", key_file=odd, known_hosts=odd)
    found = address.parse(address.of(endpoint).url)
    assert found == Address(
        name=str(address.of(endpoint)),
        host=host,
        port=2222,
        user="u",
        key=odd,
        known_hosts=odd,
        config=False,
    )


@pytest.mark.parametrize(
    ("query", "more"),
    [
        ("become=su", {"become": "su"}),
        ("become=sudo", {}),
        ("terminal=yes", {"terminal": True}),
        ("config=none", {"config": False}),
        ("secret=/s&sockets=/c", {"secret": Path("/s"), "sockets": Path("/c")}),
    ],
)
def test_an_address_says_how_root_is_reached(query: str, more: dict[str, Any]) -> None:
    found = address.parse(f"anna@desk?{query}")
    assert found == Address(name="anna@desk", host="desk", user="anna", **more)
    assert address.parse(found.url) == found


@pytest.mark.parametrize("query", ["become=doas", "terminal=maybe", "config=other"])
def test_what_an_option_cannot_say_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        address.parse(f"anna@desk?{query}")


def test_what_ends_with_a_session_is_not_shown_to_a_person(tmp_path: Path) -> None:
    endpoint = Endpoint(
        host="192.0.2.1",
        port=22,
        user="u",
        key_file=None,
        known_hosts=None,
        alias="desk",
        secret=tmp_path / "secret",
        sockets=tmp_path,
    )
    assert address.lasting(endpoint).url == "ssh://u@desk:22"
    assert address.plain_endpoint(address.of(endpoint)).sockets == tmp_path
