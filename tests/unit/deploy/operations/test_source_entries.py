"""What apt's files of sources say: a table, and the same as apt-get indextargets says."""

from pathlib import Path

import pytest

from deploy.operations.source_entries import Entry, parse, place
from tests.unit.deploy.apt_box import AptBox

KEY = """\
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
 -----END PGP PUBLIC KEY BLOCK-----"""

#: URI, suite, components, Signed-By, Trusted, architectures.
Found = tuple[str, str, tuple[str, ...], str, str, tuple[str, ...]]
#: A file's name and text, and what is in it.
FILES: list[tuple[str, str, str, list[Found]]] = [
    ("of cuda-keyring", "a.list",
     "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg]"
     " https://nvidia.example/repos/debian13/x86_64/ /\n",
     [("https://nvidia.example/repos/debian13/x86_64/", "/", (),
       "/usr/share/keyrings/cuda-archive-keyring.gpg", "", ())]),
    ("of Docker's guide", "a.list",
     "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] https://docker.example/linux/debian"
     "   trixie stable test # by hand\n",
     [("https://docker.example/linux/debian", "trixie", ("stable", "test"),
       "/etc/apt/keyrings/docker.gpg", "", ("amd64",))]),
    ("a variable", "a.list", "deb https://toolkit.example/stable/deb/$(ARCH) /\n",
     [("https://toolkit.example/stable/deb/amd64", "/", (), "", "", ())]),
    ("comments", "a.list",
     "# deb http://a.example/ x main\n\n  #deb http://a.example/ x main\n", []),
    ("several architectures", "a.list", "deb [ arch=arm64,i386 trusted=Yes ] http://a.example x y",
     [("http://a.example", "x", ("y",), "", "yes", ("arm64", "i386"))]),
    ("the other format", "a.sources",
     "# a comment\nTypes: deb deb-src\nURIs: http://a.example/debian http://b.example/debian\n"
     "Suites: trixie\n  trixie-updates\n# between\nComponents: main contrib\n"
     "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\nArchitectures: amd64 arm64\n",
     [(f"http://{host}.example/debian", suite, ("main", "contrib"),
       "/usr/share/keyrings/debian-archive-keyring.gpg", "", ("amd64", "arm64"))
      for host in "ab" for suite in ("trixie", "trixie-updates")]),
    ("a key in it", "a.sources",
     f"types: deb\nuris: http://a.example/\nsuites: ./\nsigned-by:\n{KEY}\n",
     [("http://a.example/", "./", (), f"\n{KEY}", "", ())]),
    ("switched off", "a.sources",
     "Enabled: no\nTypes: deb\nURIs: http://a.example\nSuites: x\nComponents: y\n\n"
     "Enabled: yes\nTypes: deb\nURIs: http://b.example\nSuites: x\nComponents: y\n",
     [("http://b.example", "x", ("y",), "", "", ())]),
    ("nothing", "a.sources", "", []),
    ("no source", "a.list", "deb\nnonsense http://a.example x y\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "found"), [row[1:] for row in FILES],
                         ids=[row[0] for row in FILES])  # fmt: skip
def test_entries_are_read(
    name: str,
    text: str,
    found: list[Found],
) -> None:
    expected = [
        Entry(file=name, uri=uri, suite=suite, components=components, signed_by=signed_by,
              trusted=trusted, architectures=architectures)
        for uri, suite, components, signed_by, trusted, architectures in found
    ]  # fmt: skip
    assert parse({name: text}) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [(row[2], row[1]) for row in FILES if row[0] not in {"no source", "nothing"}],
    ids=[row[0] for row in FILES if row[0] not in {"no source", "nothing"}],
)
def test_apt_reads_the_same(tmp_path: Path, text: str, name: str) -> None:
    box = AptBox.make(tmp_path, ())
    box.source(name, text)
    shown = box.sh(
        "apt-get indextargets --no-release-info 'Created-By: Packages'"
        " --format '$(REPO_URI) $(RELEASE)|$(COMPONENT)'"
    )
    assert shown.returncode == 0, shown.stderr
    lines = {line.replace("$(COMPONENT)", "") for line in shown.stdout.splitlines()}
    ours = {
        f"{entry.uri.rstrip('/')}/ {'' if entry.suite == '/' else entry.suite}|{component}"
        for entry in parse({name: text})
        for component in entry.components or ("",)
    }
    assert ours == lines


def test_a_source_of_source_packages_serves_none_to_install() -> None:
    (found,) = parse({"a.list": "deb-src http://a.example/ x main\n"})
    assert not found.serves


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (("https://a.example/debian", "x"), ("https://a.example/debian/", "x"), True),
        (("https://a.example/debian", "x"), ("http://A.example:80//debian//", "x"), True),
        (("https://a.example/debian", "x"), ("https://me:secret@a.example:443/debian", "x"), True),
        (("https://a.example/repos/x86_64/", "/"), ("https://a.example/repos", "x86_64/"), True),
        (("https://a.example/repos/x86_64/", "/"), ("https://a.example/repos/x86_64", "./"), True),
        (("https://a.example/debian", "x"), ("https://a.example/debian", "y"), False),
        (("https://a.example/debian", "x"), ("https://b.example/debian", "x"), False),
        (("https://a.example/debian", "x"), ("https://a.example:8443/debian", "x"), False),
        (("https://a.example/debian", "x"), ("https://a.example/ubuntu", "x"), False),
        (("https://a.example/x/", "/"), ("https://a.example/", "x"), False),
        (("file:/srv/debian", "x"), ("https://a.example/srv/debian", "x"), False),
    ],
)
def test_one_archive_may_be_written_in_several_ways(
    one: tuple[str, str], two: tuple[str, str], same: bool
) -> None:
    assert (place(*one) == place(*two)) is same
