"""What cleaning reads of the specification and of the build."""

from dataclasses import dataclass
from pathlib import Path

from cube.config import Spec, mirrors
from cube.machines import BUILD_USER


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is removed and what stays.

    Args:
        user: the build's account.
        public_key: base64 of the build's key.
        proxy: URL, or empty.
        remains: regular expressions of the build's mirrors and their logins.
        keep_ca: certificates of the build stay.
        keep_images: container images stay.
    """

    user: str
    public_key: str
    proxy: str = ""
    remains: tuple[str, ...] = ()
    keep_ca: bool = False
    keep_images: bool = False


def settings_of(spec: Spec, key_file: Path) -> Settings:
    """Return the settings of a build.

    Args:
        spec: what is built.
        key_file: the build's private key; its public half is beside it.
    """
    return Settings(
        user=BUILD_USER,
        public_key=key_file.with_name(f"{key_file.name}.pub").read_text().split()[1],
        proxy=spec.network.proxy,
        remains=tuple(mirrors.remains(spec)),
        keep_ca=spec.network.keep_ca_certificates,
        keep_images=bool(spec.stack.images),
    )
