"""What apt's files of sources say, also where apt itself refuses to read them.

`apt-get indextargets` shows no Signed-By, and nothing at all once two sources contradict each
other. Source: sources.list(5).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from deploy.operations.mirrors import BETWEEN, labelled

#: "deb [options] URI SUITE COMPONENT...".
ONE_LINE = re.compile(r"\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)(.*)")
#: A comment begins anywhere but between brackets. Source: apt, sourcelist.cc, ParseFileOneLine.
COMMENT = re.compile(r"((?:[^#\[]|\[[^\]]*\])*)")
#: Source: apt, strutl.cc, StringToBool.
NO = {"0", "no", "false", "without", "off", "disable"}
ARCHITECTURE = "amd64"
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A URI with one suite in a file of sources.

    Args:
        file: below the folder of sources: "sources.list.d/docker.list".
        uri: as it is written, with the architecture in it.
        suite: "trixie"; "/" or another path that ends so where there are no suites.
        components: none where there are no suites.
        signed_by: as it is written, the lines of a key too; "" is any key that apt trusts.
        trusted: as it is written; "yes" has nobody check the signature.
        architectures: none stands for all.
        binary: whether it has packages to install, not only their sources.
    """

    file: str
    uri: str
    suite: str
    components: tuple[str, ...] = ()
    signed_by: str = ""
    trusted: str = ""
    architectures: tuple[str, ...] = ()
    binary: bool = True

    @property
    def place(self) -> tuple[str, str, str]:
        """What is the same for all ways to write the same archive and suite."""
        return place(self.uri, self.suite)

    @property
    def serves(self) -> bool:
        """Whether it has packages for this architecture."""
        return self.binary and (not self.architectures or ARCHITECTURE in self.architectures)

    def contradicts(self, other: "Entry") -> bool:
        """Tell whether apt refuses to read two entries together."""
        one, two = ((entry.uri.rstrip("/"), entry.suite) for entry in (self, other))
        same = (self.signed_by.split(), self.trusted) == (other.signed_by.split(), other.trusted)
        return one == two and not same


def place(uri: str, suite: str) -> tuple[str, str, str]:
    """Return protocol, host with path, and suite in one way of writing; http is as good as https.

    A login is left out; a path in the place of a suite belongs to the URI.
    """
    parts = urlsplit(uri)
    port = f":{parts.port}" if parts.port not in {None, PORTS.get(parts.scheme)} else ""
    path = f"{parts.path}/{suite}" if suite.endswith("/") else parts.path
    folders = [name for name in path.split("/") if name not in {"", "."}]
    scheme = "" if parts.scheme in PORTS else parts.scheme
    where = "/".join([f"{parts.hostname or ''}{port}", *folders])
    return scheme, where, "" if suite.endswith("/") else suite


def parse(files: Mapping[str, str]) -> list[Entry]:
    """Return every enabled entry, in the order of the files.

    Args:
        files: text by name; the name tells the format.
    """
    return [
        entry
        for name, text in files.items()
        for entry in (
            deb822_entries(name, text)
            if name.endswith(".sources")
            else one_line_entries(name, text)
        )
    ]


def one_line_entries(name: str, text: str) -> Iterator[Entry]:
    """Yield the entries of a file in the one-line format."""
    for line in text.splitlines():
        shown = COMMENT.match(line)
        found = ONE_LINE.fullmatch(shown[0] if shown else "")
        if not found:
            continue
        options = dict(word.split("=", 1) for word in (found[2] or "").split() if "=" in word)
        fields = {key.lower(): value.replace(",", " ") for key, value in options.items()}
        yield entry(name, found[3], found[4], found[5].split(), {"types": found[1], **fields})


def deb822_entries(name: str, text: str) -> Iterator[Entry]:
    """Yield the entries of a file in the deb822 format."""
    for stanza in BETWEEN.split(text):
        fields = dict[str, str]()
        for field, line in labelled(stanza):
            if field:
                fields[field] = fields.get(field, "") + (line if line[0].isspace() else after(line))
        if fields.get("enabled", "").strip().lower() in NO:
            continue
        options = {
            "types": fields.get("types", ""),
            "arch": fields.get("architectures", ""),
            "signed-by": fields.get("signed-by", ""),
            "trusted": fields.get("trusted", ""),
        }
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield entry(name, uri, suite, fields.get("components", "").split(), options)


def after(line: str) -> str:
    """Return the value on the first line of a field."""
    return line.partition(":")[2].lstrip(" \t")


def entry(
    name: str, uri: str, suite: str, components: list[str], options: Mapping[str, str]
) -> Entry:
    """Make an entry; apt puts the architecture in the place of a variable."""
    return Entry(
        file=name,
        uri=uri.replace("$(ARCH)", ARCHITECTURE),
        suite=suite.replace("$(ARCH)", ARCHITECTURE),
        components=tuple(components),
        signed_by=options.get("signed-by", "").rstrip(),
        trusted=options.get("trusted", "").strip().lower(),
        architectures=tuple(options.get("arch", "").split()),
        binary="deb" in options["types"].split(),
    )
