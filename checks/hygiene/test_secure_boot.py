"""No key that signs for Secure Boot is in the image: every machine made from it would share it."""

import re
from pathlib import Path

from checks.hygiene.tree import Tree

#: Where DKMS, Ubuntu's shim and people keep such keys; mok.pub and MOK.der are certificates.
PLACES = ("etc/dkms/**", "var/lib/dkms/**", "var/lib/shim-signed/**", "root/**", "boot/efi/**")
SUFFIXES = (".key", ".priv")
#: Source: RFC 7468, 10 and 11, and openssl's older forms such as "RSA PRIVATE KEY".
PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
HEAD_BYTES = 65536


def is_private(file: Path) -> bool:
    if file.suffix in SUFFIXES:
        return True
    with file.open("rb") as stream:
        return PEM.search(stream.read(HEAD_BYTES)) is not None


def test_private_keys_for_modules_are_absent(image: Tree) -> None:
    assert [name for name in image.files(*PLACES) if is_private(image.path(name))] == []


def test_no_enrolment_of_a_key_was_asked_for(image: Tree) -> None:
    assert image.find("var/lib/cube/mok-password", "var/lib/cube/.mok-password*") == []
