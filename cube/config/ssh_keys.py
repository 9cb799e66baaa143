"""Public keys for SSH, taken apart: a line that only looks like one locks its owner out."""

import base64
import binascii
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BeforeValidator, ValidationInfo

from cube.config.paths import MissingFileError, read_bytes, resolve_path
from cube.runtime.redact import PRIVATE_KEY

#: The curves of ECDSA keys. Source: RFC 5656, 10.1; the point is uncompressed: RFC 5656, 3.1.
CURVES: dict[str, ec.EllipticCurve] = {
    "nistp256": ec.SECP256R1(),
    "nistp384": ec.SECP384R1(),
    "nistp521": ec.SECP521R1(),
}
ED25519, RSA = "ssh-ed25519", "ssh-rsa"
SK_ED25519, SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
ECDSA = "ecdsa-sha2-"
#: What sshd takes; DSA is gone since OpenSSH 10. Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
TYPES = (ED25519, RSA, *(f"{ECDSA}{curve}" for curve in CURVES), SK_ED25519, SK_ECDSA)
ED25519_BYTES = 32
#: Source: NIST SP 800-57 part 1, table 2; OpenSSH, sshbuf.h, SSHBUF_MAX_BIGNUM.
RSA_BITS = range(2048, 16384 + 1)

#: What begins the words of a key: its type, of whatever age, and its data.
TYPE = re.compile(r"(ssh|ecdsa|sk|x509v3)-[a-z0-9@.-]+")
DATA = re.compile(r"AAAA\S*")
MAKE = "make a key with: ssh-keygen -t ed25519"
EXAMPLE = '"~/.ssh/id_ed25519.pub"'
#: Files of other programs, and how OpenSSH reads them.
FOREIGN = {
    "---- BEGIN SSH2 PUBLIC KEY": "ssh-keygen -i -f FILE",
    "-----BEGIN PUBLIC KEY": "ssh-keygen -i -m PKCS8 -f FILE",
    "-----BEGIN RSA PUBLIC KEY": "ssh-keygen -i -m PEM -f FILE",
}


def read_ssh_key(value: object, info: ValidationInfo) -> str:
    """Turn a public key, or the path of a file that holds one, into the key's line.

    Raises:
        ValueError: it is none, or not one that sshd lets in.
    """
    if not isinstance(value, str):
        raise ValueError(f"write a public key or the path of its file in quotes, like {EXAMPLE}")
    refuse_private(value)
    if looks_like_key(value):
        return parse_line(value.strip())
    path = resolve_path(value, info)
    return read_file(path)


def looks_like_key(value: str) -> bool:
    """Tell whether text is meant as a key, not as a path."""
    words = value.split()
    typed = bool(words and TYPE.fullmatch(words[0])) and len(words) > 1
    return typed or any(DATA.fullmatch(word) for word in words) or "\n" in value.strip()


def read_file(path: Path) -> str:
    """Return the one key in a file, which may have comments and empty lines.

    Raises:
        ValueError: there is none, or more than one.
    """
    try:
        data = read_bytes(path)
    except MissingFileError as error:
        raise ValueError(f"there is no file {path}: {MAKE}") from error
    text = data.decode("utf-8", errors="replace").lstrip("\N{ZERO WIDTH NO-BREAK SPACE}")
    refuse_private(text, path)
    for start, command in FOREIGN.items():
        if start in text:
            told = command.replace("FILE", str(path))
            raise ValueError(f"{path} has another program's form: name what this prints: {told}")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) > 1:
        raise ValueError(f"{path} holds {len(lines)} lines: give each key an entry of its own")
    if not lines:
        raise ValueError(f"{path} is empty: name the file of a public key, like {EXAMPLE}")
    try:
        return parse_line(lines[0])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def refuse_private(text: str, path: Path | None = None) -> None:
    """Refuse a private key.

    Raises:
        ValueError: it is one.
    """
    if PRIVATE_KEY.search(text):
        what = f"{path} is" if path else "this is"
        raise ValueError(f"{what} a private key: name the public half, whose file ends in .pub")


def parse_line(line: str) -> str:
    """Return a key's line with one blank between its words.

    Raises:
        ValueError: it is no key that sshd lets in, by its form or its content.
    """
    if len(line.splitlines()) > 1:
        raise ValueError("several lines: give each key an entry of its own")
    if not line.isprintable() and not line.replace("\t", " ").isprintable():
        raise ValueError("it holds control characters: copy the key again")
    words = line.split(maxsplit=2)
    refuse_types(line, words)
    if len(words) == 1:
        raise ValueError("only the type is here: write the whole line of the .pub file")
    kind, data = words[:2]
    check_blob(kind, decode(data))
    return " ".join(words)


def refuse_types(line: str, words: list[str]) -> None:
    """Refuse a line that does not begin with the type of a key.

    Raises:
        ValueError: it does not.
    """
    kind = words[0]
    if kind in TYPES:
        return
    if "-cert-v0" in kind:
        raise ValueError("this is a certificate: write the key that it was made for, its .pub file")
    if kind in {"ssh-dss", "ssh-dsa"}:
        raise ValueError(f"sshd takes no DSA keys any more: {MAKE}")
    if DATA.fullmatch(kind):
        raise ValueError(f'the type is missing before it: write "{ED25519} AAAA...", say')
    if any(word in line.split() for word in TYPES):
        raise ValueError("options stand before the key: write the key alone, from its type on")
    if TYPE.fullmatch(kind):
        raise ValueError(f"sshd knows no such type ({', '.join(TYPES)}): {MAKE}")
    raise ValueError(f"no OpenSSH public key: name a file like {EXAMPLE}")


def decode(data: str) -> bytes:
    """Return a key's data.

    Raises:
        ValueError: it is not base64, or was cut off.
    """
    try:
        return base64.b64decode(data.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("the key is damaged, it is not base64: copy its line again") from error


def check_blob(kind: str, blob: bytes) -> None:
    """Compare a key's data with its type. Source: RFC 4253, 6.6; RFC 8709, 4; PROTOCOL.u2f.

    Raises:
        ValueError: it is cut off, too long, or of another type.
    """
    try:
        fields = list(strings(blob))
        embedded, *rest = fields
        name = embedded.decode("ascii")
    except (struct.error, ValueError) as error:
        raise ValueError("the key is cut off or damaged: copy its line again") from error
    if name != kind:
        raise ValueError(f"its data is that of another type, {name[:40]!r}: copy its line again")
    if not fits(kind, rest):
        raise ValueError("the key is cut off or damaged: copy its line again")
    if kind == RSA and (bits := int.from_bytes(rest[1]).bit_length()) not in RSA_BITS:
        raise ValueError(f"an RSA key has 2048 to 16384 bits, this one {bits}: {MAKE}")


def strings(blob: bytes) -> Iterator[bytes]:
    """Yield the strings that data are made of, each behind its length.

    Raises:
        struct.error: a length is cut off.
        ValueError: a string is.
    """
    at = 0
    while at < len(blob):
        (length,) = struct.unpack_from(">I", blob, at)
        at += 4 + length
        if at > len(blob):
            raise ValueError(length)
        yield blob[at - length : at]


def fits(kind: str, rest: list[bytes]) -> bool:
    """Tell whether the strings behind the type are those of such a key."""
    match kind, rest:
        case ("ssh-ed25519", [key]):
            return len(key) == ED25519_BYTES
        case ("sk-ssh-ed25519@openssh.com", [key, application]):
            return len(key) == ED25519_BYTES and bool(application)
        case ("ssh-rsa", [exponent, modulus]):
            return int.from_bytes(exponent) > 1 and int.from_bytes(modulus) % 2 == 1
        case ("sk-ecdsa-sha2-nistp256@openssh.com", [curve, point, application]):
            return curve == b"nistp256" and on_curve("nistp256", point) and bool(application)
        case (_, [curve, point]) if kind.startswith(ECDSA):
            name = kind.removeprefix(ECDSA)
            return curve == name.encode() and on_curve(name, point)
    return False


def on_curve(name: str, point: bytes) -> bool:
    """Tell whether bytes are a point of a curve."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(CURVES[name], point)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return point[:1] == b"\x04"


SshKey = Annotated[str, BeforeValidator(read_ssh_key)]
