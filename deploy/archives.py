"""Package archives beyond those of a bare system: NVIDIA's, and Debian's further components."""

from urllib.parse import urlsplit

from pyinfra import host

from deploy.operations import apt
from deploy.operations.files import put_atomic
from deploy.operations.keyring import fetch_key
from deploy.sources import template_text

NVIDIA = "https://developer.download.nvidia.com/compute/cuda/repos"
KEYRING = "/etc/apt/keyrings/nvidia-cuda.asc"

#: NVIDIA's folder for a release, the key in it, and its fingerprint. Debian 13 refuses the older
#: key, whose own signature is of SHA-1. Source: NVIDIA/cuda-repo-management, README.md, "GPG keys",
#: and its issues 30 and 39.
REPOSITORIES = {
    "debian-13": ("debian13", "8793F200.pub", "02182E60104FCDC26EAE1B8597A5D4CB8793F200"),
    "ubuntu-24.04": ("ubuntu2404", "3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC"),
}


def add_nvidia(
    os_name: str, *, url: str = "", fingerprint: str = "", proxy: str = "", apt_mirror: str = ""
) -> None:
    """Take packages from NVIDIA, whose key is known by its fingerprint.

    Args:
        os_name: the operating system, "debian-13".
        url: of a mirror with the same folders and names of keys; empty for NVIDIA's own.
        fingerprint: of the key that signs that mirror; empty for NVIDIA's own.
        proxy: proxy URL; empty for none.
        apt_mirror: of the distribution; while there is one, apt reads other folders.
    """
    folder, key, known = REPOSITORIES[os_name]
    base = f"{(url or NVIDIA).rstrip('/')}/{folder}/x86_64"
    fetch_key(
        name="Fetch NVIDIA's signing key",
        url=f"{base}/{key}",
        dest=KEYRING,
        fingerprint=fingerprint.upper() or known,
        proxy=proxy,
    )
    add_source(
        "NVIDIA's package archive",
        "nvidia-cuda",
        template_text("nvidia_driver/nvidia.sources.j2", base=base, keyring=KEYRING),
        apt_mirror,
    )
    put_atomic(
        name="Prefer NVIDIA's packages to others of the same names",
        dest="/etc/apt/preferences.d/60-cube-nvidia",
        content=template_text("nvidia_driver/preferences.j2", host=urlsplit(base).hostname),
    )


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
