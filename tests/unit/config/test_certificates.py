"""Certificates of authorities are read before any is copied to a machine."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cube import config
from cube.config import view
from cube.config.certificates import check_certificates
from cube.runtime.errors import SpecError

#: Whatever the clock of the machine that runs this says.
BEGINNING, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 12, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def made(
    name: str = "Our CA",
    *,
    issuer: str = "",
    authority: bool | None = True,
    first: datetime = BEGINNING,
    last: datetime = END,
) -> x509.Certificate:
    """Make a certificate."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer or name)]))
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(first)
        .not_valid_after(last)
    )
    if authority is not None:
        constraints = x509.BasicConstraints(ca=authority, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(KEY, hashes.SHA256())


def pem(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.PEM)


PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
GOOD = {
    "one": pem(made()),
    "several": pem(made()) + b"# another\n" + pem(made("Their CA")),
    "line ends of windows": pem(made()).replace(b"\n", b"\r\n"),
    "text before it": b"subject=CN = Our CA\n" + pem(made()),
    "without extensions": pem(made(authority=None)),
    "a server's own, signed by itself": pem(made(authority=False)),
}
BAD = [
    ("empty", b"", "is empty"),
    ("blank", b" \n\n", "is empty"),
    ("a private key", PRIVATE, "holds a private key"),
    ("both", pem(made()) + PRIVATE, "holds a private key"),
    ("der", made().public_bytes(serialization.Encoding.DER), "openssl x509 -inform der -in"),
    ("another text", b"<html>not found</html>", "no certificate in PEM"),
    ("binary", b"\x00\xff\xfe", "no certificate in PEM"),
    ("a request", b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n", "no plain certificate"),
    ("pkcs7", b"-----BEGIN PKCS7-----\nMIIB\n", "openssl pkcs7 -print_certs"),
    ("trusted", b"-----BEGIN TRUSTED CERTIFICATE-----\nMIIB\n", "openssl x509 -in"),
    ("cut off", pem(made())[:200], "is damaged"),
    ("a character changed", pem(made()).replace(b"MII", b"MIJ"), "is damaged"),
    ("no content", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "is damaged"),
    ("the second is cut off", pem(made()) + pem(made())[:100], "is damaged"),
    ("expired", pem(made(first=NOW - 9 * DAY, last=NOW - DAY)), "expired on 2026-11-30"),
    (
        "the second expired",
        pem(made()) + pem(made("Old", first=NOW - 9 * DAY, last=NOW - DAY)),
        "CN=Old expired",
    ),
    ("not yet valid", pem(made(first=NOW + DAY, last=NOW + 2 * DAY)), "from 2026-12-02 on"),
    ("a server's", pem(made(issuer="Our CA", name="www", authority=False)), "is a server's"),
]


@pytest.mark.parametrize("name", GOOD)
def test_files_that_a_machine_may_trust(tmp_path: Path, name: str) -> None:
    (tmp_path / "ca.crt").write_bytes(GOOD[name])
    check_certificates(tmp_path / "ca.crt", now=NOW)


@pytest.mark.parametrize(("content", "expected"), [r[1:] for r in BAD], ids=[r[0] for r in BAD])
def test_files_that_it_may_not(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=expected) as caught:
        check_certificates(file, now=NOW)
    assert str(file) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent.crt", "there is no file"),
        (".", "is a folder: name a file"),
        ("/dev/null", "is no plain file"),
        ("key.pem", "holds a private key"),
    ],
)
def test_cube_toml_refuses_them_with_file_and_key(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "key.pem").write_bytes(PRIVATE)
    with pytest.raises(SpecError, match=expected) as caught:
        config.load_text(f"[network]\nca_certificates = ['{name}']", tmp_path / "cube.toml")
    assert f"cube.toml: network.ca_certificates = ['{name}']: " in caught.value.message


def test_of_this_machines_own_the_others_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "company").mkdir()
    (tmp_path / "company/good.crt").write_bytes(pem(made()))
    (tmp_path / "key.crt").write_bytes(PRIVATE)
    (tmp_path / "old.crt").write_bytes(pem(made(last=BEGINNING + DAY)))
    (tmp_path / "folder.crt").mkdir()
    monkeypatch.setattr(view, "CA_FOLDER", tmp_path)
    loaded = config.load_text("", tmp_path / "cube.toml")
    assert config.ca_files(loaded) == [str(tmp_path / "company/good.crt")]
    told = config.unfit_ca_files(loaded)
    assert [name for name in ("folder", "key", "old") if any(name in one for one in told)] == [
        "folder",
        "key",
        "old",
    ]
