"""The state of a file."""

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand


@dataclass(frozen=True, kw_only=True)
class Stat:
    """A file as it is: mode in octal ("644"), owner, group and sha256 of the content."""

    mode: str
    user: str
    group: str
    sha256: str


class FileState(FactBase[Stat | None]):
    """A regular file's mode, owner, group and content; None when there is none."""

    def command(self, path: str) -> StringCommand:
        """Print both in one go; a missing file is no error."""
        quoted = QuoteString(path)
        return StringCommand(
            "test -f", quoted, "&& stat -L -c '%a %U %G'", quoted, "&& sha256sum <", quoted,
            "|| true",
        )  # fmt: skip

    def process(self, output: list[str]) -> Stat | None:
        """Split the two lines."""
        mode, user, group = output[0].split()
        return Stat(mode=mode, user=user, group=group, sha256=output[1].split()[0])
