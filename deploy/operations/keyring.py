"""Signing keys of package archives."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.keys import KeyFingerprint, fingerprint_of

#: As apt does (see deploy/files/common/50cube-network).
RETRY = "--retry 3 --retry-connrefused --connect-timeout 30"

#: The file that was fetched, in the shell.
NEW = '"$new"'


@operation()
def fetch_key(
    url: str, dest: str, *, fingerprint: str, proxy: str = ""
) -> Generator[str, None, None]:
    """Download a signing key; it is put in place only when its fingerprint is the known one.

    A key that is there with another fingerprint is replaced.

    Args:
        url: where it is.
        dest: an .asc file.
        fingerprint: 40 hexadecimal digits of the one primary key in the file.
        proxy: proxy URL; empty for none.
    """
    if host.get_fact(KeyFingerprint, path=dest) == fingerprint:
        host.noop(f"{dest} is the known key")
        return
    yield fetch_script(url, dest, fingerprint=fingerprint, proxy=proxy)


def fetch_script(url: str, dest: str, *, fingerprint: str, proxy: str = "") -> str:
    """Return the shell script that downloads a key and keeps it when it is the known one."""
    options = f"--proxy {shlex.quote(proxy)} " if proxy else ""
    folder = dest.rsplit("/", 1)[0]
    return (
        f"mkdir -p {folder} && new=$(mktemp {dest}.XXXXXX) && trap 'rm -f \"$new\"' EXIT"
        f" && curl --fail --silent --show-error --location {RETRY} {options}"
        f'--output "$new" {url}'
        f" && found=$({fingerprint_of(NEW)})"
        f' && if [ "$found" != {fingerprint} ]; then'
        f' echo "{url}: fingerprint $found, expected {fingerprint}" >&2; exit 1; fi'
        f' && chmod 644 "$new" && mv "$new" {dest}'
    )
