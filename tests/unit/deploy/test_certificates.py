"""Certificates on a host: a file each, named by its content."""

from pathlib import Path

from deploy.operations import certificates
from tests.unit.config.test_certificates import made, pem


def test_two_files_of_one_name_are_two_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ca.crt").write_bytes(pem(made(folder)))
    paths = [str(tmp_path / folder / "ca.crt") for folder in ("a", "b")]
    found = certificates.named("cube-build", paths)
    assert len(found) == 2
    assert all(name.startswith("cube-build-ca-") and name.endswith(".crt") for name in found)
    assert certificates.named("cube-build", paths[::-1]) == found


def test_each_certificate_of_a_file_has_a_file_of_its_own(tmp_path: Path) -> None:
    one, other = pem(made("a")), pem(made("b"))
    text = b"subject=a\n" + one + b"\n# b\n" + other.replace(b"\n", b"\r\n")
    (tmp_path / "my 'CA' & more.pem").write_bytes(text)
    found = certificates.named("cube", [str(tmp_path / "my 'CA' & more.pem")])
    assert list(found.values()) == [one.decode(), other.decode()]
    assert {name[: name.rindex("-")] for name in found} == {"cube-my__CA____more"}


def test_one_certificate_named_twice_is_there_once(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(pem(made()))
    assert len(certificates.named("cube", [str(tmp_path / "ca.crt")] * 2)) == 1
