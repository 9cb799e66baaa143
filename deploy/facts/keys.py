"""Signing keys of package archives."""

import re
from collections.abc import Sequence
from shlex import join, quote

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


#: Where apt takes keys from when a source names none. Source: apt-secure(8); apt-key(8), FILES.
TRUSTED = (
    "/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d/*.gpg", "/etc/apt/trusted.gpg.d/*.asc",
)  # fmt: skip
#: Of every primary key in a file.
PRIMARY = "awk -F: '/^pub/ { p = 1 } /^fpr/ && p { print $10; p = 0 }'"


class Signers(FactBase[set[str]]):
    """The fingerprints of the keys that a source is signed by."""

    def command(self, signed_by: str) -> str:
        """Ask gpg of each file, or of the key in the source itself.

        Args:
            signed_by: as the source has it: paths, fingerprints or the lines of a key; "" for
                the keys that apt trusts anyway. Source: sources.list(5), Signed-By.
        """
        show = "gpg --show-keys --with-colons"
        if "-----BEGIN" in signed_by:
            lines = [re.sub(r"^\.$", "", line.strip()) for line in signed_by.strip().splitlines()]
            return f"printf '%s\\n' {join(lines)} | {show} 2>/dev/null | {PRIMARY}; true"
        words = signed_by.replace(",", " ").split()
        files = [quote(word) for word in words if word.startswith("/")]
        named = [word.rstrip("!").upper() for word in words if not word.startswith("/")]
        return _of_files(files if words else TRUSTED, named, show)

    @staticmethod
    def default() -> set[str]:
        """Return none."""
        return set()

    def process(self, output: list[str]) -> set[str]:
        """Return the lines."""
        return set(output)


def _of_files(files: Sequence[str], named: Sequence[str], show: str) -> str:
    """Return the command that prints the keys in files, and those that are named besides."""
    said = f"printf '%s\\n' {join(named)}; " if named else ""
    if not files:
        return f"{said}true"
    return (
        f'{said}for file in {" ".join(files)}; do if test -f "$file"; then'
        f' {show} "$file" 2>/dev/null | {PRIMARY}; fi; done; true'
    )
