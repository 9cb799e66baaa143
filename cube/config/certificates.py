"""Certificates of authorities, read for real before any is copied to a machine."""

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from pydantic import BeforeValidator, ValidationInfo

from cube.config.paths import read_bytes, resolve_path
from cube.runtime.redact import PRIVATE_KEY

BEGIN = "-----BEGIN CERTIFICATE-----"
#: How other kinds of files begin, and how OpenSSL makes a certificate of them.
OTHER = {
    "-----BEGIN TRUSTED CERTIFICATE": "openssl x509 -in FILE",
    "-----BEGIN PKCS7": "openssl pkcs7 -print_certs -in FILE",
    "-----BEGIN CERTIFICATE REQUEST": "",
    "-----BEGIN PUBLIC KEY": "",
}
#: Of a file in DER: a SEQUENCE of more than 127 bytes. Source: X.690, 8.1.3.5 and 8.9.
DER = (b"\x30\x81", b"\x30\x82", b"\x30\x83")
WRITE = 'write "host", "none" or a list of files, like ["~/our-ca.crt"]'


def read_certificates(value: object, info: ValidationInfo) -> object:
    """Take a word, or files that hold certificates.

    Raises:
        ValueError: it is neither, or one of them cannot be trusted.
    """
    if value in ("host", "none"):
        return value
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        raise ValueError(WRITE)
    paths = [resolve_path(name, info) for name in value]
    for path in paths:
        check_certificates(path)
    return tuple(paths)


def check_certificates(path: Path, *, now: datetime | None = None) -> None:
    """Accept a file of one or more certificates that a machine may trust today.

    Raises:
        ValueError: it holds something else, or one that nobody could verify by.
    """
    data = read_bytes(path)
    refuse_other(path, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            found = x509.load_pem_x509_certificates(data)
            names = [one.subject.rfc4514_string() for one in found]
        if len(found) != data.count(BEGIN.encode()):
            raise ValueError(path)  # the last one is cut off
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged, a certificate in it cannot be read: get it again"
        ) from error
    for name, one in zip(names, found, strict=True):
        refuse_unfit(path, name, one, now or datetime.now(UTC))


def trouble(path: Path) -> str:
    """Say why a file may not be trusted; empty when it may."""
    try:
        check_certificates(path)
    except ValueError as error:
        return str(error)
    return ""


def refuse_other(path: Path, data: bytes) -> None:
    """Refuse what is no certificate in PEM.

    Raises:
        ValueError: it is not.
    """
    text = data.decode("utf-8", errors="replace")
    if not data.strip():
        raise ValueError(f"{path} is empty: name a certificate in PEM")
    if PRIVATE_KEY.search(text):
        raise ValueError(f"{path} holds a private key: name a file with the certificate alone")
    if data.startswith(DER):
        out = path.with_suffix(".pem")
        raise ValueError(
            f"{path} is in DER, not PEM: openssl x509 -inform der -in {path} -out {out}"
        )
    for start, command in OTHER.items():
        if start in text:
            told = f": {command.replace('FILE', str(path))}" if command else ""
            raise ValueError(f"{path} holds no plain certificate{told or ': name another file'}")
    if BEGIN not in text:
        raise ValueError(f"{path} holds no certificate in PEM ({BEGIN}): name another file")


def refuse_unfit(path: Path, name: str, one: x509.Certificate, now: datetime) -> None:
    """Refuse a certificate that is out of date or no authority's.

    Raises:
        ValueError: it is.
    """
    first, last = one.not_valid_before_utc, one.not_valid_after_utc
    if now > last:
        raise ValueError(f"{path}: {name} expired on {last:%Y-%m-%d}: get a newer one")
    if now < first:
        raise ValueError(f"{path}: {name} is valid from {first:%Y-%m-%d} on: is the clock right?")
    try:
        authority = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = True  # version 1 has no extensions
    except ValueError as error:
        raise ValueError(f"{path}: {name} has damaged extensions: get it again") from error
    if not authority and one.issuer != one.subject:
        raise ValueError(f"{path}: {name} is a server's, no authority's: name its issuer's file")


Certificates = Annotated[
    Literal["host", "none"] | tuple[Path, ...], BeforeValidator(read_certificates)
]
