"""apt's sources with mirrors in them."""

import pytest

from deploy.operations.mirrors import Mirrors, machine, names_archive
from deploy.runner.redact import Parted, masked, parted

BOTH = Mirrors(archive="http://me:p%26w@m:8080/d&x/", security="http://s/sec")

ONE_LINE = """\
# deb http://ftp.xx.debian.org/debian trixie contrib
deb http://ftp.xx.debian.org/debian trixie main
deb-src [arch=amd64 signed-by=/a/b.gpg] https://ftp.de.debian.org/debian/ trixie-updates main
  deb http://security.debian.org/debian-security trixie-security main
deb http://ftp.xx.debian.org/debian-security trixie-security main
deb https://download.docker.com/linux/debian trixie stable
"""
ONE_LINE_MIRRORED = """\
# deb http://ftp.xx.debian.org/debian trixie contrib
deb http://m:8080/d&x/ trixie main
deb-src [arch=amd64 signed-by=/a/b.gpg] http://m:8080/d&x/ trixie-updates main
  deb http://s/sec trixie-security main
deb http://s/sec trixie-security main
deb https://download.docker.com/linux/debian trixie stable
"""

#: As ubuntu-server 24.04 has it, with what the format allows besides.
DEB822 = """\
# See http://archive.ubuntu.com/ubuntu
Types: deb
URIs: http://de.archive.ubuntu.com/ubuntu/
Suites: noble noble-updates noble-backports
Components: main universe restricted multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Types: deb
uris: http://security.ubuntu.com/ubuntu/
suites: noble-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 http://archive.ubuntu.com/ubuntu

Types: deb
Suites: noble-security
URIs:
# the same archive
 http://archive.ubuntu.com/ubuntu
 https://esm.ubuntu.com/infra/ubuntu
Components: main
"""
DEB822_MIRRORED = (
    DEB822.replace("URIs: http://de.archive.ubuntu.com/ubuntu/", "URIs: http://m:8080/d&x/")
    .replace("uris: http://security.ubuntu.com/ubuntu/", "uris: http://s/sec")
    .replace(" http://archive.ubuntu.com/ubuntu\n https", " http://s/sec\n https")
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("sources.list", ONE_LINE, ONE_LINE_MIRRORED),
        ("sources.list.d/ubuntu.sources", DEB822, DEB822_MIRRORED),
        ("sources.list.d/empty.sources", "", ""),
        ("sources.list", "# Ubuntu's are elsewhere\n", "# Ubuntu's are elsewhere\n"),
    ],
)
def test_mirrors_take_the_place_of_archives_and_of_nothing_else(
    name: str, text: str, expected: str
) -> None:
    assert BOTH.replaced(name, text) == expected
    assert BOTH.replaced(name, expected) == expected  # they stand in for nothing twice


def test_one_mirror_alone_leaves_the_other_archive() -> None:
    alone = Mirrors(archive="", security="http://s/sec")
    lines = alone.replaced("sources.list", ONE_LINE).splitlines()
    assert lines[1] == "deb http://ftp.xx.debian.org/debian trixie main"
    assert lines[3] == "  deb http://s/sec trixie-security main"


def test_a_file_of_others_names_no_archive() -> None:
    assert names_archive("sources.list", ONE_LINE)
    assert not names_archive("x.list", "deb https://download.docker.com/linux/debian trixie x\n")


def test_apt_gets_logins_by_themselves() -> None:
    assert BOTH.logins() == "machine http://m:8080/d&x/ login me password p&w\n"
    assert Mirrors(archive="http://t@m/", security="http://t@m/").logins() == (
        "machine http://m/ login t\n"
    )


def test_a_login_with_a_blank_is_refused() -> None:
    with pytest.raises(ValueError, match="http://m has a blank"):
        machine("http://m", "me", "a b")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://m/debian", ("http://m/debian", "", "")),
        ("https://me@m:1/x?y#z", ("https://me@m:1/x?y#z".replace("me@", ""), "me", "")),
        ("http://a%40b:c%2Fd:e@[2001:db8::1]:8/x", ("http://[2001:db8::1]:8/x", "a@b", "c/d:e")),
    ],
)
def test_a_url_and_its_login_are_parted(url: str, expected: tuple[str, str, str]) -> None:
    assert parted(url) == Parted(*expected)


def test_a_login_for_apt_is_not_told() -> None:
    text = "cat <<X\nmachine http://m/ login me password s3cret\nmachine http://n/ login tok\nX"
    assert "me" not in masked(text).replace("machine", "")
    assert "s3cret" not in masked(text)
    assert "tok" not in masked(text)
