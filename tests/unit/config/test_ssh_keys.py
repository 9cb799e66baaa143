"""Public keys for SSH are taken apart: what sshd would not let in is refused."""

import base64
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from cube import config
from cube.config import ssh_keys
from cube.runtime.errors import SpecError
from tests.unit.config.toml import render

ED25519 = ed25519.Ed25519PrivateKey.generate()


def line_of(key: object, comment: str = "me@desk") -> str:
    public = key.public_key().public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return f"{public.decode()} {comment}".strip()


def made_of(kind: str, *fields: bytes) -> str:
    blob = b"".join(struct.pack(">I", len(one)) + one for one in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(blob).decode()}"


POINT = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
)
RSA_2048 = rsa.generate_private_key(65537, 2048)
GOOD = {
    "ed25519": line_of(ED25519),
    "without a comment": line_of(ED25519, ""),
    "with a long comment": line_of(ED25519, "Anna Bäcker, desk 3 <anna@desk>"),
    "rsa": line_of(RSA_2048),
    "nistp256": line_of(ec.generate_private_key(ec.SECP256R1())),
    "nistp384": line_of(ec.generate_private_key(ec.SECP384R1())),
    "nistp521": line_of(ec.generate_private_key(ec.SECP521R1())),
    "sk-ed25519": made_of("sk-ssh-ed25519@openssh.com", b"k" * 32, b"ssh:"),
    "sk-ecdsa": made_of("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", POINT, b"ssh:"),
}


@pytest.mark.parametrize("name", GOOD)
def test_keys_that_let_in(name: str) -> None:
    assert ssh_keys.parse_line(GOOD[name]) == GOOD[name]


def test_blanks_between_the_words_are_made_one() -> None:
    kind, data, comment = GOOD["ed25519"].split()
    assert ssh_keys.parse_line(f"{kind}\t{data}   {comment}") == GOOD["ed25519"]


CUT = GOOD["ed25519"].split()[1]
SHORT_RSA = rsa.generate_private_key(65537, 1024)
OFF_CURVE = POINT[:-1] + bytes([POINT[-1] ^ 1])
BAD = [
    ("truncated", "ssh-ed25519 AAAA", "cut off or damaged"),
    ("cut in the middle", f"ssh-ed25519 {CUT[:40]}", "cut off or damaged"),
    ("a character lost", f"ssh-ed25519 {CUT[:-1]}", "not base64"),
    ("not base64", "ssh-ed25519 AAAA*AAA", "not base64"),
    ("other characters", "ssh-ed25519 AAAAÄÖÜ", "not base64"),
    ("no data", "ssh-ed25519 me@desk", "not base64"),
    ("too long", made_of("ssh-ed25519", b"k" * 33), "cut off or damaged"),
    ("too short", made_of("ssh-ed25519", b"k" * 31), "cut off or damaged"),
    ("more behind it", made_of("ssh-ed25519", b"k" * 32, b"x"), "cut off or damaged"),
    ("another type inside", "ssh-rsa " + CUT, "another type, 'ssh-ed25519'"),
    ("another curve inside", made_of("ecdsa-sha2-nistp256", b"nistp384", POINT), "damaged"),
    ("a point off the curve", made_of("ecdsa-sha2-nistp256", b"nistp256", OFF_CURVE), "damaged"),
    ("no application", made_of("sk-ssh-ed25519@openssh.com", b"k" * 32, b""), "damaged"),
    ("a weak RSA key", line_of(SHORT_RSA), "has 2048 to 16384 bits, this one 1024"),
    ("a huge RSA key", made_of("ssh-rsa", b"\x01\x00\x01", b"\x01" + b"\xff" * 2500), "20001"),
    ("an even modulus", made_of("ssh-rsa", b"\x01\x00\x01", b"\x00" + b"\xfe" * 256), "damaged"),
    ("dsa", "ssh-dss AAAAB3NzaC1kc3MAAACB me@desk", "no DSA keys any more"),
    ("a certificate", "ssh-ed25519-cert-v01@openssh.com AAAA", "this is a certificate"),
    ("options", f'from="192.0.2.0/24",no-pty {GOOD["ed25519"]}', "options stand before the key"),
    ("a command", f'command="a b" {GOOD["rsa"]}', "options stand before the key"),
    ("cert-authority", f"cert-authority {GOOD['ed25519']}", "options stand before the key"),
    ("type missing", CUT, "the type is missing"),
    ("unknown type", "ssh-xmss@openssh.com AAAA", "sshd knows no such type"),
    ("unknown curve", "ecdsa-sha2-nistp192 AAAA", "sshd knows no such type"),
    ("a private key", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n", "a private key"),
    ("two keys", f"{GOOD['ed25519']}\n{GOOD['rsa']}", "several lines"),
    ("control characters", f"{GOOD['ed25519']}\x1b[2J", "control characters"),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in BAD], ids=[r[0] for r in BAD])
@pytest.mark.parametrize("where", ["text", "file"])
def test_keys_that_would_lock_out(tmp_path: Path, text: str, expected: str, where: str) -> None:
    value = text
    if where == "file":
        (tmp_path / "id.pub").write_text(text + "\n")
        value, expected = "id.pub", expected.replace("several lines", "holds 2 lines")
    with pytest.raises(SpecError) as caught:
        config.load_text(f"[admin]\nssh_keys = [{render(value)}]", tmp_path / "cube.toml")
    assert expected in caught.value.message
    assert "admin.ssh_keys[0]" in caught.value.message
    assert "b3BlbnNzaC1rZXk" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "ssh-keygen -i -f"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n", "ssh-keygen -i -m PKCS8 -f"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n", "is a private key"),
        ("<html>", "no OpenSSH public key"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "id.pub").write_text(content)
    with pytest.raises(ValueError, match=expected):
        ssh_keys.read_file(tmp_path / "id.pub")


def test_a_file_may_have_comments_and_the_line_ends_of_windows(tmp_path: Path) -> None:
    text = f"\ufeff# mine\r\n\r\n{GOOD['ed25519']}\r\n"
    (tmp_path / "id.pub").write_bytes(text.encode())
    assert ssh_keys.read_file(tmp_path / "id.pub") == GOOD["ed25519"]


def test_no_remedy_but_one_for_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*: make a key with: ssh-keygen"):
        ssh_keys.read_file(tmp_path / "id.pub")
