"""Virtual environments that were made from locks."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from shlex import quote

from pyinfra.api import FactBase

#: The lock that a venv was made from, its last file: a venv without it is not whole.
LOCK = "requirements.txt"


class Locks(FactBase[dict[str, str]]):
    """The sha256 of the locks in venvs, by the venv's path; one that is not whole is missing."""

    def command(self, paths: Sequence[str]) -> str:
        """Print digest and name of each lock that is there."""
        locks = " ".join(quote(f"{path}/{LOCK}") for path in paths)
        return f"sha256sum {locks} 2>/dev/null || true"

    @staticmethod
    def default() -> dict[str, str]:
        """Return none."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Split the lines. Source: sha256sum(1): digest, space, mode, name."""
        pairs = [(line[66:], line[:64]) for line in output]
        return {str(PurePosixPath(name).parent): digest for name, digest in pairs}
