"""Where apt's packages come from."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation

from deploy.facts import apt as facts

#: Source: the package debian-archive-keyring.
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@operation()
def mirror(url: str) -> Generator[str, None, None]:
    """Copy apt's sources to cube-build/ with a mirror in the place of their archives.

    Debian's security archive is another archive than the one that is mirrored: it stays.

    Args:
        url: "http://mirror.example/debian/".
    """
    stamp = "/etc/apt/cube-build/mirror"
    if host.get_fact(facts.FirstLine, path=stamp) == url:
        host.noop("the mirror is set")
        return
    edit = rf"/debian-security/! s#https\?://[^ ]*/\(debian\|ubuntu\)/\?#{url.rstrip('/')}/#g"
    yield (
        "mkdir -p /etc/apt/cube-build/sources.list.d && cd /etc/apt"
        " && for file in sources.list sources.list.d/*.list sources.list.d/*.sources; do"
        f' test -e "$file" || continue; sed {shlex.quote(edit)} "$file" > "cube-build/$file"; done'
        f" && echo {shlex.quote(url)} > {stamp}"
    )


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
