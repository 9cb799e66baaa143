"""Signing keys of package archives."""

from shlex import quote

from pyinfra.api import FactBase


def fingerprint_of(file: str) -> str:
    """Return the command that prints the fingerprint of the one primary key in a file.

    Source: GnuPG, doc/DETAILS: "fpr" records, field 10; the first belongs to the primary key.

    Args:
        file: as the shell shall read it.
    """
    return (
        f"gpg --show-keys --with-colons {file}"
        " | awk -F: '/^pub/ { n++ } /^fpr/ && !f { f = $10 } END { if (n == 1) print f }'"
    )


class KeyFingerprint(FactBase[str]):
    """The fingerprint of the key in a file; empty where there is none, or several."""

    def command(self, path: str) -> str:
        """Ask gpg."""
        name = quote(path)
        return f"test -f {name} && {fingerprint_of(name)} || true"

    @staticmethod
    def default() -> str:
        """Return no key."""
        return ""

    def process(self, output: list[str]) -> str:
        """Return the only line."""
        return output[0] if output else ""
