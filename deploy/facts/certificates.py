"""Certificates on a host."""

from collections.abc import Sequence
from shlex import quote

from pyinfra.api import FactBase


class Untrusted(FactBase[list[str]]):
    """Certificates of a list with a line that is not in a bundle; all where there is no bundle.

    The content decides: the times of the files depend on how the clock was set.
    """

    def command(self, bundle: str, paths: Sequence[str]) -> str:
        """Print the names of their files. Source: grep(1), 1 when no line is selected."""
        return (
            f"for file in {' '.join(map(quote, paths))}; do"
            f' if test -e "$file"; then grep -qvxFf {quote(bundle)} "$file" 2>/dev/null;'
            ' test $? = 1 || echo "$file"; fi; done'
        )

    @staticmethod
    def default() -> list[str]:
        """Return none."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Return the lines."""
        return output
