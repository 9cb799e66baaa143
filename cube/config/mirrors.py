"""Where packages come from: the distributions' archives, and mirrors of them while building."""

import functools
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from cube.config import OsName, Spec, security_mirror
from cube.runtime.errors import HostError, SpecError
from cube.runtime.redact import parted

#: Ubuntu's archive, and its security updates. Source: ubuntu.sources of ubuntu-server 24.04.
UBUNTU = ("http://archive.ubuntu.com/ubuntu/", "http://security.ubuntu.com/ubuntu/")
#: Where mmdebstrap, a script, has Debian's two: what it takes where no mirror is named.
MMDEBSTRAP = "mmdebstrap"
DEFAULTS = re.compile(r"^\s*my \$(?:sec)?mirror\s*=\s*'(https?://[^']+)';", re.MULTILINE)
#: What Ubuntu's installer writes where nobody names a mirror.
UBUNTU_SOURCES = """\
Types: deb
URIs: {0}
Suites: noble noble-updates noble-backports
Components: main universe restricted multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Types: deb
URIs: {1}
Suites: noble-security
Components: main universe restricted multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""


def archives(os: OsName) -> tuple[str, str]:
    """Return the address of a distribution's archive, and of its security updates.

    Raises:
        HostError: mmdebstrap is missing, or its defaults are not found in it.
    """
    return UBUNTU if os == "ubuntu-24.04" else debian_archives()


@functools.cache
def debian_archives() -> tuple[str, str]:
    """Return Debian's own archives, as mmdebstrap knows them.

    Raises:
        HostError: see `archives`.
    """
    tool = shutil.which(MMDEBSTRAP)
    if tool is None:
        raise HostError("mmdebstrap: program not found", hint="run 'cube doctor'")
    found = DEFAULTS.findall(Path(tool).read_text(errors="replace"))
    if len(found) != len(UBUNTU):
        raise HostError(
            f"{tool} names {len(found)} archives of Debian, not 2",
            hint="set network.apt_mirror and network.apt_security_mirror, and report it",
        )
    return found[0], found[1]


def debian_sources(archive: str, security: str) -> list[str]:
    """Return apt's one-line sources of Debian 13 from two addresses."""
    return [
        f"deb {archive} trixie main",
        f"deb {archive} trixie-updates main",
        f"deb {security} trixie-security main",
    ]


def addresses(spec: Spec) -> tuple[str, str]:
    """Return where an image that is built takes its packages from, logins left out."""
    own, own_security = archives(spec.image.os)
    archive = parted(spec.network.apt_mirror).url.rstrip("/") or own
    return archive, parted(security_mirror(spec)).url.rstrip("/") or own_security


def image_sources(os: OsName) -> tuple[str, str]:
    """Return name, below the root, and text of an image's own sources: no mirror is in them."""
    found = archives(os)
    if os == "debian-13":
        return "etc/apt/sources.list", "".join(f"{line}\n" for line in debian_sources(*found))
    return "etc/apt/sources.list.d/ubuntu.sources", UBUNTU_SOURCES.format(*found)


def logins(spec: Spec) -> str:
    """Return the logins of the mirrors as apt reads them.

    Source: apt_auth.conf(5): words are separated by blanks, so none may hold one; without a
    protocol, a login is sent over https alone.

    Raises:
        SpecError: one cannot be written so.
    """
    lines = set[str]()
    for url in (spec.network.apt_mirror, security_mirror(spec)):
        bare, user, password = parted(url)
        if re.search(r"\s", user + password):
            raise SpecError(
                f"the login of the mirror {bare} has a blank in it, which apt cannot read",
                hint="network.apt_mirror, network.apt_security_mirror: use a login without blanks",
            )
        if user:
            lines.add(f"machine {bare} login {user}{f' password {password}' if password else ''}\n")
    return "".join(sorted(lines))


def remains(spec: Spec) -> list[str]:
    """Return regular expressions, POSIX extended ones, of what a sealed image must not say.

    These are hosts and logins of the mirrors. What an image may name is not among them: the
    distribution's own hosts, and those of the repositories that stay in it.
    """
    kept = [*archives(spec.image.os), spec.stack.nvidia_url, spec.stack.toolkit_url]
    hosts = {urlsplit(parted(url).url).netloc for url in kept}
    patterns = set[str]()
    for url in filter(None, (spec.network.apt_mirror, security_mirror(spec))):
        bare, user, password = parted(url)
        place, written = urlsplit(bare).netloc, urlsplit(url).netloc.rpartition("@")[0]
        if place not in hosts:
            patterns.add(f"(://|@){literal(place)}([^A-Za-z0-9.:-]|$)")
        if user:
            patterns |= {f"://{literal(written)}@", f"login {literal(user)}{secret(password)}"}
    return sorted(patterns)


def secret(password: str) -> str:
    """Return an expression of what follows a name in apt's list of logins."""
    return f" password {literal(password)}" if password else "( |$)"


def literal(text: str) -> str:
    """Return an extended regular expression that matches a text. Source: POSIX, XBD 9.4.3."""
    return re.sub(r"([][.()*+?{}|^$\\])", r"\\\1", text)
