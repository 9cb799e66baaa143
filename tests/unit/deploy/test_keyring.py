"""Signing keys: what is put in place, and what is not."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy.operations.keyring import fetch_script, request

KNOWN = "0A6C08C0D0E0EB71181153D2FD1A10960C119BB5"
KEY = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawhRvRYJKwYBBAHaRw8BAQdA9eoU9MpZ1cJ091MmGJmHbRtwxKHsLtpWkehQ
M02zSQC0ElN0YW5kLWluIGZvciB0ZXN0c4iQBBMWCAA4FiEECmwIwNDg63EYEVPS
/RoQlgwRm7UFAmsIUb0CGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ/RoQ
lgwRm7XHxgEA/uoVCNztA5BIvqN1z3Qd5fUI8zq7q/fcRApkrElJ50cBAMQJOOzt
SQCjyBYE8poFk7YPBZCkgk3NFHO9bFozf08L
=cdXY
-----END PGP PUBLIC KEY BLOCK-----
"""
STRANGER = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawhRvRYJKwYBBAHaRw8BAQdA9+ZRiNbsS/KPmELVM92ZHIDBABrcUk86wThS
JTAl8pS0CFN0cmFuZ2VyiJAEExYIADgWIQSMBdM2skOL9xop06rstARaEbUSoAUC
awhRvQIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRDstARaEbUSoB4eAQCl
cQ1rwWiQLKJBfIDMQ6JPaOvHGLEGnnzVVJBakR67hgEAiKjQmyknW2eUrSVw2FsD
JTmkNZ5I50s2aHzCAJJEFwQ=
=VcGC
-----END PGP PUBLIC KEY BLOCK-----
"""
#: Copies the file that its input asks for; 22 is curl's own code for a page that is not there.
CURL = r"""#!/bin/sh
case "$*" in *" --config -") ;; *) exit 2 ;; esac
while [ $# -gt 1 ]; do [ "$1" = --output ] && out=$2; shift; done
cp "$(sed -n 's/^url = "\(.*\)"$/\1/p')" "$out" 2>/dev/null && exit
echo "curl: (22) The requested URL returned error: 404" >&2
exit 22
"""


def fetch(folder: Path, content: str | None) -> "subprocess.CompletedProcess[str]":
    """Fetch a key into keyrings/known.asc; there is none to fetch without content."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "curl").write_text(CURL)
    (tools / "curl").chmod(0o755)
    served = folder / "served"
    if content is not None:
        served.write_text(content)
    script = fetch_script(str(served), str(folder / "keyrings/known.asc"), fingerprint=KNOWN)
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "GNUPGHOME": str(folder)}
    return subprocess.run(
        ["sh", "-c", script],
        env=env,
        input=request(str(served), ""),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_known_key_is_put_in_place(tmp_path: Path) -> None:
    assert fetch(tmp_path, KEY).returncode == 0
    (file,) = (tmp_path / "keyrings").iterdir()
    assert file.name == "known.asc"
    assert file.read_text() == KEY
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (STRANGER, "fingerprint 8C05D336B2438BF71A29D3AAECB4045A11B512A0, expected"),
        (KEY + STRANGER, "fingerprint , expected"),  # one more, which would be trusted too
        ("<html>Sign in</html>\n", "no valid OpenPGP data found"),
        (KEY[:80], f"expected {KNOWN}"),
        ("", f"expected {KNOWN}"),
        (None, "returned error: 404"),
    ],
    ids=["a stranger's", "two keys", "a page", "broken off", "nothing", "not there"],
)
def test_what_is_not_the_known_key_leaves_the_old_one(
    content: str | None, told: str, tmp_path: Path
) -> None:
    old = tmp_path / "keyrings/known.asc"
    old.parent.mkdir()
    old.write_text("old\n")
    done = fetch(tmp_path, content)
    assert done.returncode != 0
    assert told in done.stderr
    assert {file.name: file.read_text() for file in old.parent.iterdir()} == {old.name: "old\n"}


def test_no_login_is_in_the_words_of_the_command() -> None:
    url = "https://me:secret@i.example/it's/key.asc"
    assert request(url, "http://me:secret@p.example:1").splitlines() == [
        'url = "https://me:secret@i.example/it\'s/key.asc"',
        'proxy = "http://me:secret@p.example:1"',
    ]
    script = fetch_script(url, "/k.asc", fingerprint=KNOWN)
    assert "secret" not in script
    subprocess.run(["sh", "-n", "-c", script], check=True)
