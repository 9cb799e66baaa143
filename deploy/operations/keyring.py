"""Signing keys of package archives."""

import json
import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from deploy.facts.keys import KeyFingerprint, fingerprint_of
from deploy.runner.redact import masked

#: As apt does (see deploy/files/common/50cube-network).
RETRY = "--retry 3 --retry-connrefused --connect-timeout 30"

#: The file that was fetched, in the shell.
NEW = '"$new"'


@operation()
def fetch_key(
    url: str, dest: str, *, fingerprint: str, proxy: str = ""
) -> Generator[StringCommand, None, None]:
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
    script = fetch_script(url, dest, fingerprint=fingerprint)
    yield StringCommand(script, _stdin=request(url, proxy))


def request(url: str, proxy: str) -> str:
    """Return what curl reads: a URL may have a login, and everybody may read a command's words.

    Source: curl(1), --config: what is between quotes has the escapes of JSON.
    """
    values = {"url": url, **({"proxy": proxy} if proxy else {})}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def fetch_script(url: str, dest: str, *, fingerprint: str) -> str:
    """Return the shell script that downloads a key and keeps it when it is the known one.

    Its input is a `request`.
    """
    told = shlex.quote(masked(url))
    folder = dest.rsplit("/", 1)[0]
    return (
        f"mkdir -p {folder} && new=$(mktemp {dest}.XXXXXX) && trap 'rm -f \"$new\"' EXIT"
        f" && curl --fail --silent --show-error --location {RETRY}"
        f' --output "$new" --config -'
        f" && found=$({fingerprint_of(NEW)})"
        f' && if [ "$found" != {fingerprint} ]; then'
        f' echo {told}": fingerprint $found, expected {fingerprint}" >&2; exit 1; fi'
        f' && chmod 644 "$new" && mv "$new" {dest}'
    )
