"""Where apt's packages come from."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import OperationValueError, StringCommand, operation

from deploy.facts import apt as facts
from deploy.facts.apt_sources import Sources
from deploy.operations.files import put_atomic
from deploy.operations.mirrors import Mirrors, names_archive

#: Source: the package debian-archive-keyring.
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

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
def components(names: str, *, suites: str, folder: str) -> Generator[str, None, None]:
    """Let the distribution's archive serve more components; its address is the one in use.

    Args:
        names: "contrib non-free".
        suites: "trixie trixie-updates"; the first must be among the sources already.
        folder: of apt's sources, "/etc/apt".
    """
    target, first = f"{folder}/sources.list.d/cube-components.sources", suites.split(maxsplit=1)[0]
    head = f"# {suites}: {names}, beside main"
    if host.get_fact(facts.FirstLine, path=target) == head:
        host.noop(f"{target} has {names}")
        return
    sources = f"-o Dir::Etc::SourceList={folder}/sources.list"
    sources += f" -o Dir::Etc::SourceParts={folder}/sources.list.d"
    # Source: apt-get(8), indextargets; doc/acquire-additional-files.md of apt, its fields.
    yield (
        f"url=$(apt-get indextargets {sources} --format '$(REPO_URI)' 'Created-By: Packages'"
        f" 'Release: {first}' 'Component: main' | head -n 1) && if [ -z \"$url\" ]; then"
        f" echo '{folder}: no source has {first} main: add it' >&2; exit 1; fi"
        " && printf '%s\\n'"
        f" {shlex.quote(head)} 'Types: deb' \"URIs: $url\" 'Suites: {suites}'"
        f" 'Components: {names}' 'Signed-By: {KEYRING}' > {target}.new && mv {target}.new {target}"
    )
