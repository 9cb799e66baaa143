"""Package archives beyond those of a bare system."""

from pyinfra import host

from deploy.operations import apt
from deploy.operations.files import put_atomic


def add_debian_components(names: str, *, apt_mirror: str = "") -> None:
    """Let Debian's own archive serve more than main, where it is, and at the mirror.

    Args:
        names: "contrib non-free".
        apt_mirror: it is used while building; the image keeps Debian's address.
    """
    for parts in host.loop(sorted({"/etc/apt", folder_of(apt_mirror)})):
        apt.components(
            name=f"Add Debian's {names}",
            names=names,
            suites="trixie trixie-updates",
            folder=parts,
        )


def add_source(title: str, stem: str, content: str, apt_mirror: str) -> None:
    """Put a source where apt looks now, and where it looks once the image is sealed."""
    for parts in host.loop(sorted({"/etc/apt", folder_of(apt_mirror)})):
        put_atomic(
            name=f"Add {title}",
            dest=f"{parts}/sources.list.d/{stem}.sources",
            content=content,
        )


def folder_of(apt_mirror: str) -> str:
    """Return the folder whose sources apt reads. Source: deploy/files/common/apt-mirror."""
    return "/etc/apt/cube-build" if apt_mirror else "/etc/apt"
