"""Where packages come from while building, and that an image does not tell."""

import re
import subprocess
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec, mirrors, security_mirror
from cube.runtime.errors import SpecError

UBUNTU = f'[os."ubuntu-24.04"]\niso_url = "http://x/y"\niso_sha256 = "{"0" * 64}"\n'

ARCHIVE = mirrors.archives("debian-13")[0]


def read(text: str, os: str = "debian-13") -> Spec:
    more = f'[image]\nos = "{os}"\n{UBUNTU}[network]\n{text}\n'
    return config.load_text(more, Path("cube.toml"))


@pytest.mark.parametrize(
    ("os", "network", "expected"),
    [
        ("debian-13", "", ""),
        ("debian-13", 'apt_mirror = "http://m/debian"', "http://m/debian-security"),
        (
            "debian-13",
            'apt_mirror = "http://u:p@m:8/x/debian/"',
            "http://u:p@m:8/x/debian-security",
        ),
        ("debian-13", 'apt_mirror = "http://m/all"', "http://m/all"),
        ("ubuntu-24.04", 'apt_mirror = "http://m/ubuntu/"', "http://m/ubuntu"),
        ("ubuntu-24.04", 'apt_mirror = "http://m/debian"', "http://m/debian"),
        ("debian-13", 'apt_security_mirror = "http://s/x"', "http://s/x"),
        (
            "debian-13",
            'apt_mirror = "http://m/debian"\napt_security_mirror = "http://s"',
            "http://s",
        ),
    ],
)
def test_security_has_the_mirror_of_the_archive_unless_it_has_its_own(
    os: str, network: str, expected: str
) -> None:
    assert security_mirror(read(network, os)) == expected
    assert config.build_data(read(network, os))["apt_security_mirror"] == expected


def test_a_login_is_part_of_no_address() -> None:
    found = read('apt_mirror = "http://me:x%40y@m:8080/debian/"')
    assert mirrors.addresses(found) == ("http://m:8080/debian", "http://m:8080/debian-security")


def test_logins_are_decoded_for_apt() -> None:
    found = read('apt_mirror = "http://me:x%40y%2F@m/debian"\napt_security_mirror = "http://t@s"')
    assert mirrors.logins(found).splitlines() == [
        "machine http://m/debian login me password x@y/",
        "machine http://s login t",
    ]


def test_a_login_that_apt_cannot_read_is_refused() -> None:
    with pytest.raises(SpecError, match="http://m/debian has a blank in it") as caught:
        mirrors.logins(read('apt_mirror = "http://me:a%20q@m/debian"'))
    assert "a q" not in caught.value.message


FULL = (
    'apt_mirror = "http://me:s.%26*@m:8080/debian"\napt_security_mirror = "https://tok@s.example/"'
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("deb http://m:8080/debian trixie main", True),
        ("deb http://M:8080/debian trixie main", True),
        ("URIs: https://s.example/", True),
        ("https://s.example", True),
        ("see http://x@m:8080", True),
        ("http://me:s.%26*@elsewhere", True),
        ("machine elsewhere login me password s.&*", True),
        ("machine elsewhere login tok", True),
        (f"deb {ARCHIVE} trixie main", False),
        ("http://m:80801/debian and https://s.example.org/ and http://m/debian", False),
        ("m:8080 is no address, nor is s.example", False),
        ("machine elsewhere login tokyo", False),
        ("http://me:sx%26*@elsewhere", False),
    ],
)
def test_what_an_image_must_not_say_is_found_by_grep_and_by_python(text: str, found: bool) -> None:
    patterns = mirrors.remains(read(FULL))
    grep = subprocess.run(
        ["grep", "-iqE", "-e", "\n".join(patterns)],
        input=text,
        text=True,
        check=False,
        capture_output=True,
    )
    assert (grep.returncode == 0, grep.stderr) == (found, "")
    assert any(re.search(one, text, re.IGNORECASE | re.MULTILINE) for one in patterns) is found


@pytest.mark.parametrize(
    "network",
    [
        "",
        f'apt_mirror = "{ARCHIVE}"',
        f'apt_mirror = "{ARCHIVE}"\n[stack]\nnvidia_url = "http://m/cuda"',
        'apt_mirror = "http://m/debian"\n[stack]\ntoolkit_url = "http://u:p@m/toolkit"',
    ],
)
def test_what_an_image_may_name_is_not_looked_for(network: str) -> None:
    assert mirrors.remains(read(network)) == [] or "security" in mirrors.remains(read(network))[0]


def test_an_image_names_the_distributions_own_archives() -> None:
    name, text = mirrors.image_sources("debian-13")
    assert name == "etc/apt/sources.list"
    assert f"deb {ARCHIVE} trixie-updates main" in text
    name, text = mirrors.image_sources("ubuntu-24.04")
    assert name == "etc/apt/sources.list.d/ubuntu.sources"
    assert re.findall("URIs: (.*)", text) == list(mirrors.UBUNTU)
