"""The state of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase, QuoteString, StringCommand


@dataclass(frozen=True, kw_only=True)
class Stat:
    """A file as it is: mode in octal ("644"), owner, group and sha256 of the content."""

    mode: str
    user: str
    group: str
    sha256: str


class FileStates(FactBase[dict[str, Stat]]):
    """What `FileState` tells of each of several files, in one look; those that are there."""

    def command(self, paths: Sequence[str]) -> str:
        """Print a line for each: mode, owner, group, digest, name."""
        return (
            f'for file in {" ".join(map(quote, paths))}; do if test -f "$file"; then'
            ' echo "$(stat -L -c \'%a %U %G\' "$file") $(sha256sum <"$file" | cut -c 1-64) $file";'
            " fi; done"
        )

    @staticmethod
    def default() -> dict[str, Stat]:
        """Return none."""
        return {}

    def process(self, output: list[str]) -> dict[str, Stat]:
        """Split the lines."""
        rows = [line.split(" ", 4) for line in output]
        return {
            name: Stat(mode=mode, user=user, group=group, sha256=sha256)
            for mode, user, group, sha256, name in rows
        }


class FileState(FactBase[Stat | None]):
    """A regular file's mode, owner, group and content; None when there is none."""

    def command(self, path: str) -> StringCommand:
        """Print both in one go; a missing file is no error."""
        quoted = QuoteString(path)
        return StringCommand(
            "test -f",
            quoted,
            "&& stat -L -c '%a %U %G'",
            quoted,
            "&& sha256sum <",
            quoted,
            "|| true",
        )

    def process(self, output: list[str]) -> Stat | None:
        """Split the two lines."""
        mode, user, group = output[0].split()
        return Stat(mode=mode, user=user, group=group, sha256=output[1].split()[0])


#: Where `deploy.operations.trial` keeps versions until their successors are tried, by whole path.
KEPT = "/var/lib/cube/before"


class Existing(FactBase[set[str]]):
    """Those of a list of names that exist."""

    def command(self, paths: Sequence[str]) -> str:
        """Print them."""
        words = " ".join(map(quote, paths))
        return f'for file in {words}; do if test -e "$file"; then echo "$file"; fi; done'

    @staticmethod
    def default() -> set[str]:
        """Return none."""
        return set()

    def process(self, output: list[str]) -> set[str]:
        """Return the lines."""
        return set(output)
