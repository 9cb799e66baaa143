"""Certificates that a machine trusts besides those of its distribution."""

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.system import Newer

FOLDER = "/usr/local/share/ca-certificates"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@operation()
def trust(names: Sequence[str]) -> Generator[str, None, None]:
    """Put certificates of `FOLDER` into the bundle that programs read.

    Args:
        names: their file names; the bundle is made again when one of them is newer.
    """
    files = [f"{FOLDER}/{name}" for name in names]
    if host.get_fact(Newer, than=BUNDLE, paths=tuple(files)):
        yield (
            "{ command -v update-ca-certificates >/dev/null"
            " || { apt-get update && apt-get --yes install ca-certificates; }; }"
            f" && update-ca-certificates && touch {BUNDLE}"
        )
