"""Certificates that programs of this machine trust for us, beside what it trusts itself."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cube.config import Spec, ca_files

#: What this machine trusts. Source: update-ca-certificates(8).
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@contextlib.contextmanager
def bundle(spec: Spec) -> Iterator[Path | None]:
    """Write all that is trusted to one file while the block runs, where cube.toml names files.

    apt fetches as an account of its own, so the file is public and in no closed folder.

    Yields:
        The file; None: what this machine trusts is all.
    """
    if spec.network.ca_certificates in ("host", "none"):
        yield None
        return
    own = [BUNDLE] if BUNDLE.exists() else []
    texts = [file.read_text() for file in (*own, *map(Path, ca_files(spec)))]
    with tempfile.TemporaryDirectory(prefix="cube-trust-") as name:
        file = Path(name, "certificates.crt")
        file.write_text("\n".join(texts))
        file.chmod(0o644)
        Path(name).chmod(0o755)
        yield file
