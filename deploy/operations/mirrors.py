"""Mirrors that stand in for the distribution's archives while an image is built."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from deploy.runner.redact import parted

#: The hosts of the archives that a mirror stands in for. Neither Ubuntu Pro's archives nor those
#: of others are mirrored. Source: debian.org/mirror/list; ubuntu.sources of ubuntu-server 24.04.
ARCHIVES = re.compile(
    r"(deb|ftp(\.\w\w)?|security)\.debian\.org|((\w\w\.)?archive|security)\.ubuntu\.com"
)
#: "deb [options] URL SUITE COMPONENT...". Source: sources.list(5), "One-line-style format".
ONE_LINE = re.compile(r"^(\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s+)?)(\S+)(\s+)(\S+)", re.MULTILINE)
#: Stanzas are separated by empty lines. Source: sources.list(5), "Deb822-style format".
BETWEEN = re.compile(r"(\n[ \t]*\n)")


@dataclass(frozen=True, kw_only=True)
class Mirrors:
    """A mirror of the distribution's archive, and one of its security updates; "" is none."""

    archive: str
    security: str

    def address(self, url: str, suites: Sequence[str]) -> str:
        """Return where what a source offers is taken from; a login is never part of it."""
        parts = urlsplit(url)
        if not ARCHIVES.fullmatch(parts.hostname or ""):
            return url
        apart = (parts.hostname or "").startswith("security.") or "-security" in parts.path
        of_security = apart or all(suite.endswith("-security") for suite in suites)
        chosen = self.security if of_security else self.archive
        return parted(chosen).url if chosen else url

    def replaced(self, name: str, text: str) -> str:
        """Return a file of apt's sources with the mirrors in the place of the archives.

        Args:
            name: of the file, which tells its format.
            text: its content.
        """
        if not name.endswith(".sources"):
            return ONE_LINE.sub(
                lambda one: one[1] + self.address(one[2], [one[4]]) + one[3] + one[4], text
            )
        return "".join(self._stanza(part) for part in BETWEEN.split(text))

    def _stanza(self, text: str) -> str:
        lines = list(labelled(text))
        suites = [word for field, line in lines if field == "suites" for word in values(line)]
        return "".join(
            re.sub(r"\S+://\S+", lambda url: self.address(url[0], suites), line)
            if field == "uris"
            else line
            for field, line in lines
        )

    def logins(self) -> str:
        """Return the logins of the mirrors as apt reads them.

        Raises:
            ValueError: one cannot be written for apt.
        """
        found = {url: parted(url) for url in (self.archive, self.security) if url}
        lines = [machine(*one) for one in found.values() if one.user]
        return "".join(f"{line}\n" for line in sorted(set(lines)))


def names_archive(name: str, text: str) -> bool:
    """Tell whether a file of apt's sources names an archive that a mirror could stand in for."""
    probe = Mirrors(archive="http://mirror.invalid/", security="http://mirror.invalid/")
    return probe.replaced(name, text) != text


def labelled(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line of a stanza with the field that it belongs to; a comment has none."""
    field = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("#"):
            yield "", line
            continue
        if not line[0].isspace():
            field = line.partition(":")[0].strip().lower()
        yield field, line


def values(line: str) -> list[str]:
    """Return the words of a field's line, its name left out."""
    return (line if line[0].isspace() else line.partition(":")[2]).split()


def machine(url: str, user: str, password: str) -> str:
    """Return an entry of auth.conf.

    Source: apt_auth.conf(5): words are separated by blanks and nothing quotes one; without a
    protocol, a login is sent over https alone.

    Raises:
        ValueError: a word has a blank in it.
    """
    words = ["machine", url, "login", user, *(["password", password] if password else [])]
    if any(re.search(r"\s", word) for word in words):
        raise ValueError(f"the login of {url} has a blank in it, which apt cannot read")
    return " ".join(words)
