"""Certificates that a machine trusts besides those of its distribution."""

import hashlib
import re
from collections.abc import Generator, Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.certificates import Untrusted
from deploy.operations.apt import get

FOLDER = "/usr/local/share/ca-certificates"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

#: A certificate in PEM. Source: RFC 7468, 5.1
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
#: Of a digest, as much as tells two certificates of one name apart.
SHORT = 12


def named(prefix: str, paths: Sequence[str]) -> dict[str, str]:
    """Return every certificate of some files, by the name of its file on the host.

    Each has a file of its own, named by its content: two files may have one name in two folders,
    and update-ca-certificates makes no link to a file with several certificates.

    Args:
        prefix: of the names.
        paths: files of this machine.
    """
    found: dict[str, str] = {}
    for path in paths:
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", Path(path).stem)
        for text in PEM.findall(Path(path).read_text(encoding="utf-8", errors="replace")):
            one = text.replace("\r\n", "\n") + "\n"
            digest = hashlib.sha256(one.encode()).hexdigest()[:SHORT]
            found[f"{prefix}-{stem}-{digest}.crt"] = one
    return found


@operation()
def trust(names: Sequence[str]) -> Generator[str, None, None]:
    """Put certificates of `FOLDER` into the bundle that programs read.

    Args:
        names: their file names; the bundle is made again when it lacks one of them.
    """
    files = [f"{FOLDER}/{name}" for name in names]
    if host.get_fact(Untrusted, bundle=BUNDLE, paths=tuple(files)):
        yield (
            "{ command -v update-ca-certificates >/dev/null"
            f" || {{ apt-get update && {{ {get('install ca-certificates')}; }}; }}; }}"
            " && update-ca-certificates"
        )
