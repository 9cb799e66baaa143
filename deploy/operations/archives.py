"""Package archives beyond those of a bare system."""

from dataclasses import dataclass

from pyinfra import host

from deploy.operations import apt_sources
from deploy.operations.files import put_atomic
from deploy.operations.keyring import fetch_key


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
        """Return the file that holds the key."""
        return f"/etc/apt/keyrings/{self.stem}.asc"

    def render_source(self) -> str:
        """Return what apt reads. Source: sources.list(5), "Deb822-style format"."""
        lines = [
            "Types: deb",
            f"URIs: {self.url}",
            f"Suites: {self.suite}",
            *([f"Components: {self.components}"] if self.components else []),
            "Architectures: amd64",
            f"Signed-By: {self.keyring}",
        ]
        return "\n".join(lines) + "\n"


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


def add(archive: Archive, *, proxy: str = "", mirrored: bool = False) -> None:
    """Take packages from an archive, once its key is the known one.

    The source is put where apt looks now, and where it looks once the image is sealed.

    Args:
        archive: what to add.
        proxy: URL of one that the key is fetched by.
        mirrored: whether apt reads sources of the build's now.
    """
    fetch_key(
        name=f"Fetch {archive.owner}'s signing key",
        url=archive.key_url,
        dest=archive.keyring,
        fingerprint=archive.fingerprint,
        proxy=proxy,
    )
    for parts in host.loop(folders(mirrored)):
        put_atomic(
            name=f"Add {archive.owner}'s package archive",
            dest=f"{parts}/sources.list.d/{archive.stem}.sources",
            content=archive.render_source(),
        )


def folders(mirrored: bool) -> list[str]:
    """Return the folders of sources: apt's own, and that which apt reads while a mirror is used.

    Source: deploy/files/common/apt-mirror.
    """
    return ["/etc/apt", *([apt_sources.FOLDER] if mirrored else [])]
