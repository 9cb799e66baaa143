"""Archives of others: one source each, whoever set it up first, in a form that apt reads."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.facts.apt_sources import Sources
from deploy.facts.files import KEPT, FileState
from deploy.facts.keys import TRUSTED, KeyFingerprint, Signers
from deploy.operations import apt, apt_sources, archives, files, keyring
from deploy.operations.archives import Archive
from deploy.operations.source_entries import parse
from tests.unit.deploy.apt_box import AptBox
from tests.unit.deploy.test_keyring import KEY, KNOWN, STRANGER

FLAT = Archive(
    owner="NVIDIA", stem="nvidia-cuda", key_url="https://example.org/repos/key.pub",
    fingerprint="A" * 40, url="https://example.org/repos/",
)  # fmt: skip
DOCKER = Archive(
    owner="Docker", stem="docker", key_url="https://docker.example/gpg", fingerprint=KNOWN,
    url="https://docker.example/linux/debian", suite="trixie", components="stable",
)  # fmt: skip
TOOLKIT = Archive(
    owner="the container toolkit", stem="toolkit", key_url="https://toolkit.example/gpgkey",
    fingerprint=KNOWN, url="https://toolkit.example/stable/deb/amd64",
)  # fmt: skip


@pytest.mark.parametrize(
    ("archive", "lines"),
    [
        (FLAT, ["URIs: https://example.org/repos/", "Suites: /"]),
        (DOCKER, ["URIs: https://docker.example/linux/debian", "Suites: trixie",
                  "Components: stable"]),
    ],
)  # fmt: skip
def test_a_source_is_signed_by_the_key_that_was_fetched(archive: Archive, lines: list[str]) -> None:
    assert archive.render_source().splitlines() == [
        "Types: deb",
        *lines,
        "Architectures: amd64",
        f"Signed-By: {archive.keyring}",
    ]
    assert archive.keyring == f"/etc/apt/keyrings/cube-{archive.stem}.asc"


class Box(AptBox):
    """A box with keys of an owner, on which operations are carried out by their commands."""

    def fact(self, kind: type, **arguments: str) -> object:
        """Ask a fact's command on this box."""
        asked = kind()
        done = self.sh(self.here(str(asked.command(**arguments))))
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        return asked.process(lines) if lines else asked.default() if kind is not FileState else None

    def here(self, script: str) -> str:
        """Return a script with this box in the place of /etc and /var, and no owners."""
        script = re.sub(r"(?<![\w/.])/etc/apt", f"{self.root}/etc/apt", script)
        script = script.replace(KEPT, f"{self.root}/before")
        return script.replace("chown root:root", "true")

    def carry_out(self, commands: object) -> list[str]:
        """Run the commands of an operation until one fails; return what went wrong."""
        for command in commands:  # type: ignore[attr-defined]
            text = command if isinstance(command, str) else command.get_raw_value()
            given = {} if isinstance(command, str) else command.connector_arguments
            stdin = given.get("_stdin", "")
            done = self.sh(self.here(text), self.here(stdin))
            if done.returncode:
                return done.stderr.splitlines()
        return []

    def have(self, archive: Archive) -> list[str]:
        """Have an archive among the sources; return what went wrong."""
        return self.carry_out(archives.source._inner(archive, folder="/etc/apt", proxy=""))

    def sources(self) -> dict[str, str]:
        """Text of every file of sources."""
        folder = self.root / "etc/apt/sources.list.d"
        return {path.name: path.read_text() for path in folder.iterdir()}

    def readable(self) -> bool:
        """Whether apt can read the sources."""
        return self.sh("apt-get indextargets").returncode == 0


CURL = """#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = --output ] && out=$2; shift; done
cat >/dev/null; cp {root}/served "$out"
"""


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    made = Box.make(tmp_path, ())
    assert isinstance(made, Box)
    for folder in ("bin", "etc/apt/keyrings", "etc/apt/trusted.gpg.d"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "served").write_text(KEY)
    (tmp_path / "bin/curl").write_text(CURL.format(root=tmp_path))
    (tmp_path / "bin/curl").chmod(0o755)
    (tmp_path / "etc/apt/keyrings/docker.asc").write_text(KEY)
    (tmp_path / "etc/apt/keyrings/stranger.asc").write_text(STRANGER)
    host = SimpleNamespace(get_fact=made.fact, noop=lambda _: None, print_prefix="")
    for module in (archives, apt_sources, files, keyring):
        monkeypatch.setattr(module, "host", host)
    monkeypatch.setattr(files, "state", SimpleNamespace(config=SimpleNamespace(DIFF=False)))
    return made


OWN = "cube-docker.sources"
BASE = "https://docker.example/linux/debian"
SIGNED = "signed-by=/etc/apt/keyrings/docker.asc"
EMBEDDED = "\n".join(f" {line or '.'}" for line in KEY.strip().splitlines())


def deb822(**fields: str) -> str:
    """Return a source of the owner's, with some fields changed; empty leaves one out."""
    every = {
        "Types": "deb", "URIs": BASE, "Suites": "trixie", "Components": "stable",
        "Signed_By": "/etc/apt/keyrings/docker.asc", **fields,
    }  # fmt: skip
    return "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in every.items() if value)


#: The owner's file, and its text; it serves what is wanted.
REUSED = [
    ("of Docker's guide", "docker.list", f"deb [arch=amd64 {SIGNED}] {BASE} trixie stable\n"),
    ("of Docker's newer guide", "docker.sources", deb822()),
    ("with a slash", "docker.list", f"deb [{SIGNED}] {BASE}/ trixie stable\n"),
    ("over http", "docker.list", f"deb [{SIGNED}] http{BASE[5:]} trixie stable\n"),
    ("more components", "docker.list", f"deb [{SIGNED}] {BASE} trixie test stable nightly\n"),
    ("several architectures", "docker.list",
     f"deb [arch=arm64,amd64 {SIGNED}] {BASE} trixie stable\n"),
    ("two suites", "docker.sources", deb822(Suites="bookworm trixie")),
    ("a key in it", "docker.sources", deb822(Signed_By=f"\n{EMBEDDED}")),
    ("a fingerprint", "docker.sources", deb822(Signed_By=f"{KNOWN}")),
    ("two keyrings", "docker.sources",
     deb822(Signed_By="/etc/apt/keyrings/stranger.asc, /etc/apt/keyrings/docker.asc")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [row[1:] for row in REUSED],
                         ids=[row[0] for row in REUSED])  # fmt: skip
def test_a_source_that_somebody_has_set_up_is_reused(box: Box, name: str, text: str) -> None:
    box.source(name, box.here(text))
    before = box.sources()
    assert box.have(DOCKER) == []
    assert box.sources() == before
    assert box.readable()


#: The owner's file and text: the archive is not among them, or not all of it.
ADDED = [
    ("nothing", "docker.list", ""),
    ("commented out", "docker.list", f"# deb [{SIGNED}] {BASE} trixie stable\n"),
    ("switched off", "docker.sources", deb822(Enabled="no")),
    ("another suite", "docker.list", f"deb [{SIGNED}] {BASE} bookworm stable\n"),
    ("another component", "docker.list", f"deb [{SIGNED}] {BASE} trixie test\n"),
    ("another architecture", "docker.list", f"deb [arch=arm64 {SIGNED}] {BASE} trixie stable\n"),
    ("another component, with a key in it", "docker.sources",
     deb822(Components="test", Signed_By=f"\n{EMBEDDED}")),
    ("source packages only", "docker.sources", deb822(Types="deb-src")),
    ("another archive", "docker.list", f"deb [{SIGNED}] https://other.example trixie stable\n"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [row[1:] for row in ADDED],
                         ids=[row[0] for row in ADDED])  # fmt: skip
def test_what_no_source_serves_is_added_and_apt_reads_both(box: Box, name: str, text: str) -> None:
    box.source(name, box.here(text))
    assert box.have(DOCKER) == []
    assert sorted(box.sources()) == sorted([OWN, name])
    assert box.sources()[name] == box.here(text)
    assert box.readable()
    assert not (box.root / "before").exists() or not any((box.root / "before").rglob("*.none"))
    now = box.sources()
    assert box.have(DOCKER) == []
    assert box.sources() == now


STRANGE = "signed-by=/etc/apt/keyrings/stranger.asc"
REFUSED = [
    ("another key", f"deb [{STRANGE}] {BASE} trixie stable\n", "without the key 0A6C"),
    ("a keyring that is not there", f"deb [signed-by=/etc/apt/keyrings/none.gpg] {BASE} trixie"
     " stable\n", "none.gpg, without the key 0A6C"),
    ("no key at all", f"deb {BASE} trixie stable\n",
     "signed by the keys that apt trusts anyway, without the key 0A6C"),
    ("no signature", f"deb [trusted=yes {SIGNED}] {BASE} trixie stable\n", "Trusted: yes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), [row[1:] for row in REFUSED],
                         ids=[row[0] for row in REFUSED])  # fmt: skip
def test_a_source_that_the_known_key_does_not_sign_is_refused(
    box: Box, text: str, told: str
) -> None:
    box.source("docker.list", box.here(text))
    before = box.sources()
    (line,) = box.have(DOCKER)
    assert f"docker.list has {BASE} trixie" in line
    assert told in line
    assert "remove that line and apply again" in line
    assert box.sources() == before
    assert not list((box.root / "etc/apt/keyrings").glob("cube-*"))


def test_a_key_that_apt_trusts_anyway_counts(box: Box) -> None:
    (box.root / "etc/apt/trusted.gpg.d/docker.asc").write_text(KEY)
    box.source("docker.list", f"deb {BASE} trixie stable\n")
    assert box.have(DOCKER) == []
    assert list(box.sources()) == ["docker.list"]


def test_a_variable_stands_for_the_architecture(box: Box) -> None:
    text = f"deb [{SIGNED}] https://toolkit.example/stable/deb/$(ARCH) /\n"
    box.source("nvidia-container-toolkit.list", box.here(text))
    assert box.have(TOOLKIT) == []
    assert list(box.sources()) == ["nvidia-container-toolkit.list"]


def test_a_source_that_somebody_adds_later_takes_the_place_of_ours(box: Box) -> None:
    assert box.have(DOCKER) == []
    box.source("docker.list", box.here(f"deb [{SIGNED}] {BASE} trixie stable\n"))
    assert not box.readable()
    assert box.carry_out(apt_sources.make_way._inner()) == []
    assert box.readable()
    assert box.have(DOCKER) == []
    assert list(box.sources()) == ["docker.list"]
    assert box.carry_out(apt_sources.make_way._inner()) == []


def test_a_source_that_apt_cannot_read_beside_others_goes_again(box: Box) -> None:
    """What this has not foreseen, apt's own reading shows: here an option that it compares."""
    text = f"deb [check-valid-until=no {SIGNED}] {BASE} trixie test\n"
    box.source("docker.list", box.here(text))
    told = box.have(DOCKER)
    assert any("Conflicting values set for option Check-Valid-Until" in line for line in told)
    assert list(box.sources()) == ["docker.list"]
    assert box.readable()


DEBIAN = "https://debian.example/debian"
RING = "[signed-by=/etc/apt/keyrings/docker.asc]"
#: The owner's sources, and what is added for each suite.
COMPONENTS = [
    ("without a key", f"deb {DEBIAN} trixie main\ndeb {DEBIAN} trixie-updates main\n",
     {"trixie": ("contrib", "non-free"), "trixie-updates": ("contrib", "non-free")}),
    ("with a key", f"deb {RING} {DEBIAN} trixie main\ndeb {RING} {DEBIAN} trixie-updates main\n",
     {"trixie": ("contrib", "non-free"), "trixie-updates": ("contrib", "non-free")}),
    ("some are there", f"deb {RING} {DEBIAN} trixie main contrib\n"
     f"deb {RING} {DEBIAN} trixie-updates main contrib non-free\n", {"trixie": ("non-free",)}),
    ("all are there", f"deb {DEBIAN} trixie main contrib non-free\n"
     f"deb {DEBIAN}/ trixie-updates main non-free contrib\n", {}),
    ("without updates", f"deb {RING} {DEBIAN} trixie main contrib non-free\n",
     {"trixie-updates": ("contrib", "non-free")}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "added"), [row[1:] for row in COMPONENTS],
                         ids=[row[0] for row in COMPONENTS])  # fmt: skip
def test_components_are_added_as_the_owners_sources_are_signed(
    box: Box, text: str, added: dict[str, tuple[str, ...]]
) -> None:
    box.source("debian.list", box.here(text))
    names = "contrib non-free"
    for _ in range(2):
        done = apt_sources.components._inner(
            names, suites="trixie trixie-updates", folder="/etc/apt"
        )
        assert box.carry_out(done) == []
        own = box.sources().get("cube-components.sources", "")
        found = parse({"a.sources": own})
        assert {one.suite: one.components for one in found} == added
        assert box.readable()


RELEASE = """\
Origin: Debian
Suite: {alias}
Codename: {codename}
Date: Sat, 15 Nov 2025 10:00:00 UTC
Architectures: amd64
Components: main contrib non-free
SHA256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages
"""


@pytest.mark.parametrize(("codename", "fits"), [("trixie", True), ("forky", False)])
def test_a_suite_may_be_called_stable_if_it_is_the_one(codename: str, fits: bool, box: Box) -> None:
    box.source("debian.list", f"deb {DEBIAN} stable main\ndeb {DEBIAN} stable-updates main\n")
    for end in ("", "-updates"):
        stem = f"{box.root}/var/lib/apt/lists/debian.example_debian_dists_stable{end}_"
        text = RELEASE.format(alias=f"stable{end}", codename=f"{codename}{end}")
        Path(f"{stem}Release").write_text(text)
        Path(f"{stem}main_binary-amd64_Packages").touch()
    for _ in range(2):
        done = apt_sources.components._inner(
            "contrib", suites="trixie trixie-updates", folder="/etc/apt"
        )
        told = box.carry_out(done)
        own = parse({"a.sources": box.sources().get("cube-components.sources", "")})
        assert [one.suite for one in own] == (["stable", "stable-updates"] if fits else [])
        assert fits or "no source has trixie main: add it" in told[0]
        assert box.readable()


def test_a_box_without_the_release_is_told_what_it_lacks(box: Box) -> None:
    done = apt_sources.components._inner("contrib", suites="trixie", folder="/etc/apt")
    (line,) = box.carry_out(done)
    assert "no source has trixie main: add it" in line


@pytest.mark.parametrize(
    ("name", "good", "bad", "tried_by"),
    [
        ("apt.conf.d/50cube", 'APT::Color "no";\n', "APT { nonsense\n", apt.READS),
        ("preferences.d/50cube", "Package: *\nPin: release a=x\nPin-Priority: 1\n",
         "Package: *\nPin: release a=x\n", apt.PREFERS),
    ],
)  # fmt: skip
def test_a_file_of_apts_own_that_apt_cannot_read_is_put_back(
    box: Box, name: str, good: str, bad: str, tried_by: str
) -> None:
    def put(content: str) -> list[str]:
        return box.carry_out(
            files.put_atomic._inner(dest=f"/etc/apt/{name}", content=content, tried_by=tried_by)
        )

    assert put(bad)[-1].startswith("put back as before:")
    assert not (box.root / "etc/apt" / name).exists()
    assert put(good) == []
    assert put(bad)[-1].startswith("put back as before:")
    assert (box.root / "etc/apt" / name).read_text() == good


def test_facts_that_these_tests_ask() -> None:
    assert all(path.startswith("/etc/apt/") for path in TRUSTED)
    for kind in (Sources, Signers, KeyFingerprint):
        assert not kind.default()
