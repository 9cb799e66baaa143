"""Package archives beyond those of a bare system."""

import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import StringCommand, operation

from deploy.facts.apt_sources import Sources
from deploy.facts.keys import Signers
from deploy.operations import apt_sources, source_entries
from deploy.operations.files import put_atomic
from deploy.operations.keyring import fetch_key
from deploy.operations.source_entries import Entry


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive of somebody else, who is known by the fingerprint of a key.

    Args:
        owner: whose it is: "Docker".
        stem: of the names of its files: "docker".
        key_url: where its key is.
        fingerprint: 40 hexadecimal digits of the key.
        url: of the archive.
        suite: "noble"; "/" for an archive that has none.
        components: "stable"; an archive without suites has none.
    """

    owner: str
    stem: str
    key_url: str
    fingerprint: str
    url: str
    suite: str = "/"
    components: str = ""

    @property
    def keyring(self) -> str:
        """Return the file that holds the key; no guide of others uses its name."""
        return f"/etc/apt/keyrings/cube-{self.stem}.asc"

    @property
    def file(self) -> str:
        """Return the file of the source, below the folder of apt's sources."""
        return f"sources.list.d/{apt_sources.OURS}{self.stem}.sources"

    def render_source(self, signed_by: str | None = None) -> str:
        """Return what apt reads. Source: sources.list(5), "Deb822-style format".

        Args:
            signed_by: of somebody else's source of the same archive, which apt compares; "" for
                one that names no key. Without it, the archive's own keyring.
        """
        key = self.keyring if signed_by is None else signed_by
        return apt_sources.render(
            self.url, self.suite, self.components.split(), key, architectures="amd64"
        )


def add_debian_components(names: str, *, mirrored: bool = False) -> None:
    """Let Debian's own archive serve more than main, where it is, and at the mirror.

    Args:
        names: "contrib non-free".
        mirrored: whether a mirror is used while building; the image keeps Debian's address.
    """
    for parts in host.loop(folders(mirrored)):
        apt_sources.components(
            name=f"Add Debian's {names}",
            names=names,
            suites="trixie trixie-updates",
            folder=parts,
        )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What becomes of an archive on a host.

    Args:
        reused: the file of somebody else's source that serves it already.
        refusal: why nothing can be done.
        signed_by: see `Archive.render_source`.
    """

    reused: str = ""
    refusal: str = ""
    signed_by: str | None = None


def choose(
    archive: Archive, entries: Sequence[Entry], signers: Callable[[str], set[str]]
) -> Choice:
    """Choose between a source that is there, one of ours, and none.

    Args:
        archive: what is wanted.
        entries: of apt's sources.
        signers: fingerprints of the keys in a Signed-By.
    """
    wanted = source_entries.place(archive.url, archive.suite)
    there = [one for one in entries if one.file != archive.file and one.place == wanted]
    for one in there:
        if why := distrust(archive, one, signers):
            return Choice(refusal=f"{one.file} has {one.uri} {one.suite}, {why}")
    served = {name for one in there if one.serves for name in one.components or ("",)}
    if there and served >= set(archive.components.split() or ("",)):
        return Choice(reused=next(one.file for one in there if one.serves))
    return Choice(signed_by=there[0].signed_by if there else None)


def distrust(archive: Archive, found: Entry, signers: Callable[[str], set[str]]) -> str:
    """Say why a source of somebody else cannot be used; empty where it can."""
    remedy = f"remove that line and apply again: {archive.owner}'s source is then set up anew"
    if found.trusted and found.trusted not in source_entries.NO:
        return f"and nobody checks who signed it (Trusted: {found.trusted}): {remedy}"
    if archive.fingerprint not in signers(found.signed_by):
        by = " ".join(found.signed_by.split()) or "the keys that apt trusts anyway"
        by = "a key in that file" if "-----BEGIN" in by else by
        return f"signed by {by}, without the key {archive.fingerprint}: {remedy}"
    return ""


@operation()
def source(archive: Archive, *, folder: str, proxy: str) -> Generator[StringCommand, None, None]:
    """Have an archive among apt's sources once, by whoever set it up first.

    Args:
        archive: what to have.
        folder: of apt's sources.
        proxy: URL of one that the key is fetched by.
    """
    files = host.get_fact(Sources, folder=folder)
    entries = source_entries.parse(files)
    choice = choose(archive, entries, lambda key: host.get_fact(Signers, signed_by=key))
    if choice.refusal:
        yield StringCommand(f"echo {shlex.quote(f'{folder}/{choice.refusal}')} >&2; exit 1")
    elif choice.reused:
        host.noop(f"{folder}/{choice.reused} has {archive.owner}'s archive")
        if archive.file in files:
            yield StringCommand(f"rm -f {folder}/{archive.file}")
    else:
        if choice.signed_by is None:
            yield from fetch_key._inner(
                url=archive.key_url,
                dest=archive.keyring,
                fingerprint=archive.fingerprint,
                proxy=proxy,
            )
        yield from put_atomic._inner(
            dest=f"{folder}/{archive.file}",
            content=archive.render_source(choice.signed_by),
            tried_by=apt_sources.readable(folder),
        )


def add(archive: Archive, *, proxy: str = "", mirrored: bool = False) -> None:
    """Take packages from an archive whose key is the known one.

    The source is put where apt looks now, and where it looks once the image is sealed.

    Args:
        archive: what to add.
        proxy: URL of one that the key is fetched by.
        mirrored: whether apt reads sources of the build's now.
    """
    for parts in host.loop(folders(mirrored)):
        source(
            name=f"Have {archive.owner}'s package archive, signed by the known key",
            archive=archive,
            folder=parts,
            proxy=proxy,
        )


def folders(mirrored: bool) -> list[str]:
    """Return the folders of sources: apt's own, and that which apt reads while a mirror is used.

    Source: deploy/files/common/apt-mirror.
    """
    return ["/etc/apt", *([apt_sources.FOLDER] if mirrored else [])]
