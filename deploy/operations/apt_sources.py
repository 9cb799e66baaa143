"""Where apt's packages come from."""

import shlex
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import OperationValueError, StringCommand, operation

from deploy.facts.apt_sources import Codenames, Sources, reads_from
from deploy.operations import source_entries
from deploy.operations.files import put_atomic
from deploy.operations.mirrors import Mirrors, names_archive
from deploy.operations.source_entries import Entry

#: How the names of our own files of sources begin.
OURS = "cube-"
#: What only a build has: the seal finds both by their names.
FOLDER = "/etc/apt/cube-build"
LOGINS = "/etc/apt/auth.conf.d/99cube-build-mirror.conf"
NO_ARCHIVE = "no source names an archive of Debian or Ubuntu, so a mirror cannot stand in for it"


@operation()
def mirror(url: str, security_url: str) -> Generator[str | StringCommand, None, None]:
    """Copy apt's sources to a folder of the build's, with mirrors in the place of their archives.

    Args:
        url: of the archive's mirror, "http://mirror.example/debian/"; "" for none.
        security_url: of the mirror of security updates; "" for none.

    Raises:
        OperationValueError: apt cannot be told a mirror's login.
    """
    mirrors = Mirrors(archive=url, security=security_url)
    try:
        logins = mirrors.logins()
    except ValueError as error:
        raise OperationValueError(str(error)) from error
    found = host.get_fact(Sources)
    copies = {name: mirrors.replaced(name, text) for name, text in found.items()}
    if found and not any(names_archive(name, text) for name, text in found.items()):
        yield f"echo {shlex.quote(f'/etc/apt: {NO_ARCHIVE}')} >&2; exit 1"
    if logins:
        yield from put_atomic._inner(dest=LOGINS, content=logins, mode="600")
    for name, text in copies.items():
        if text.strip():
            yield from put_atomic._inner(dest=f"{FOLDER}/{name}", content=text)


@operation()
def components(
    names: str, *, suites: str, folder: str
) -> Generator[str | StringCommand, None, None]:
    """Let the distribution's archive serve more components; its address is the one in use.

    Args:
        names: "contrib non-free".
        suites: "trixie trixie-updates"; the first must be among the sources already, by this name
            or by another of the same suite, such as "stable".
        folder: of apt's sources, "/etc/apt".
    """
    files = host.get_fact(Sources, folder=folder)
    name = f"sources.list.d/{OURS}components.sources"
    others = [one for one in source_entries.parse(files) if one.file != name]
    wanted = suites.split()
    main = having_main(others, wanted[0])
    if main is None:
        codenames: dict[str, str] = host.get_fact(Codenames, folder=folder)
        called = {codename: suite for suite, codename in codenames.items()}
        main = having_main(others, called.get(wanted[0], ""))
        wanted = [called.get(suite, suite) for suite in wanted]
    if main is None:
        lack = f"{folder}: no source has {suites.split(maxsplit=1)[0]} main: add it"
        yield f"echo {shlex.quote(lack)} >&2; exit 1"
        return
    text = "\n".join(lacking(main, suite, names.split(), others) for suite in wanted)
    if text.strip():
        yield from put_atomic._inner(
            dest=f"{folder}/{name}", content=text.strip() + "\n", tried_by=readable(folder)
        )
    elif name in files:
        yield f"rm -f {folder}/{name}"
    else:
        host.noop(f"{folder} has {names}")


def having_main(entries: Sequence[Entry], suite: str) -> Entry | None:
    """Return the first entry that has the packages of a suite's component main."""
    fits = (one for one in entries if one.suite == suite and one.serves)
    return next((one for one in fits if "main" in one.components), None)


def lacking(main: Entry, suite: str, names: Sequence[str], entries: Sequence[Entry]) -> str:
    """Return a stanza with the components that no source of a suite has; empty for none.

    Args:
        main: the source whose address is used.
        suite: whose components they are.
        names: the components that are wanted.
        entries: of apt's sources. What apt compares is taken from those of the same suite.
    """
    wanted = source_entries.place(main.uri, suite)
    there = [one for one in entries if one.place == wanted]
    served = {name for one in there if one.serves for name in one.components}
    missing = [name for name in names if name not in served]
    like = there[0] if there else main
    if not missing:
        return ""
    return render(like.uri, suite, missing, like.signed_by, trusted=like.trusted)


def render(
    uri: str,
    suite: str,
    names: Sequence[str],
    signed_by: str,
    *,
    architectures: str = "",
    trusted: str = "",
) -> str:
    """Return a source in the deb822 format; fields without a value are left out.

    Source: sources.list(5), "Deb822-style format".
    """
    fields = {
        "Types": "deb",
        "URIs": uri,
        "Suites": suite,
        "Components": " ".join(names),
        "Architectures": architectures,
        "Signed-By": signed_by,
        "Trusted": trusted,
    }
    lines = [f"{name}:{gap(value)}{value}\n" for name, value in fields.items() if value]
    return "".join(lines)


def gap(value: str) -> str:
    """Return what stands before a field's value; one of several lines begins on the next."""
    return "" if value.startswith("\n") else " "


def readable(folder: str) -> str:
    """Return a command that fails where apt cannot read its sources together.

    Source: apt-get(8), indextargets; apt.conf(5), Dir::Etc.
    """
    return f"apt-get indextargets {reads_from(folder)} >/dev/null"


@operation()
def make_way() -> Generator[str, None, None]:
    """Remove sources of ours that contradict one that somebody has added since.

    Apt reads nothing at all while two sources of an archive name different keys.
    """
    files = host.get_fact(Sources)
    entries = source_entries.parse(files)
    ours = [one for one in entries if one.file.startswith(f"sources.list.d/{OURS}")]
    others = [one for one in entries if one not in ours]
    gone = {one.file for one in ours if any(one.contradicts(other) for other in others)}
    for name in sorted(gone):
        yield f"rm -f /etc/apt/{name}"
