"""Packages that an earlier build has fetched: apt-cacher-ng, for as long as a build runs.

It may save time and may never cost a build: where it is missing, does not start or gives what apt
does not believe, the build continues without it. apt verifies what comes out of it as what comes
from a mirror, by the signature of its archive. No key of a link knows of it.
"""

import contextlib
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines import Endpoint, ssh
from cube.runtime import log
from cube.runtime.errors import CubeError
from cube.supply import apt_cache

#: Where Debian's service listens, if somebody runs one. Source: acng.conf, Port.
SERVICE = "http://127.0.0.1:3142"
#: This machine's loopback, as guests of user networking see it. Source: slirp4netns(1), qemu(1).
GATEWAY = "10.0.2.2"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: What of the cache lies on a guest while a layer is applied; the seal removes such names, too.
SETTING, SCRIPT = "/etc/apt/apt.conf.d/00cube-build-cache", "/etc/apt/cube-build-cache"
#: apt's words when what was given to it is not what it wanted, or nothing was.
#: Source: apt, apt-pkg/acquire-item.cc and methods/basehttp.cc.
POISON = ("Hash Sum mismatch", "unexpected size", "invalid signature")
SUSPECT = ("Failed to fetch", *POISON)


@dataclass(frozen=True, kw_only=True)
class PackageCache:
    """A cache that has answered.

    Args:
        url: where this machine reaches it.
        guest_url: where machines of the build reach it; empty: they do not.
        folder: where its files are; None: it is not ours.
    """

    url: str
    guest_url: str
    folder: Path | None = None

    def distrust(self) -> None:
        """Have the next build begin with an empty cache, if it is ours."""
        if self.folder:
            (self.folder / "distrusted").touch()


@contextlib.contextmanager
def opened(spec: Spec, work: Workspace) -> Iterator[PackageCache | None]:
    """Find the cache of packages or start it; None when a build goes on without."""
    wanted = spec.network.package_cache
    if wanted == "off":
        yield None
        return
    url = SERVICE if wanted == "auto" else wanted
    if answers(url) and (wanted != "auto" or (apt_cache.is_cacher(url) and service_fits(spec))):
        log.info(f"packages come through the cache at {url}")
        yield PackageCache(url=url, guest_url=guest_url(spec, url))
        return
    if wanted != "auto":
        log.warning(f"network.package_cache: {url} does not answer; the build continues without it")
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            cache = stack.enter_context(own(spec, work.cache / "packages"))
        except (CubeError, OSError) as error:
            reason = error.message if isinstance(error, CubeError) else str(error)
            log.info(f"no cache of packages: {reason}; the build continues without it")
            cache = None
        yield cache


@contextlib.contextmanager
def own(spec: Spec, folder: Path) -> Iterator[PackageCache]:
    """Start a cache of this build.

    Raises:
        CommandError: it cannot be started.
    """
    with apt_cache.started(spec.network.proxy, folder) as url:
        yield PackageCache(url=url, guest_url=guest_url(spec, url), folder=folder)


def service_fits(spec: Spec) -> bool:
    """Tell whether a service that others have set up leads to the build's mirrors.

    It knows no proxy of cube.toml, and refuses other ports than 80. Source: acng.conf,
    AllowUserPorts.
    """
    mirrors = (spec.network.apt_mirror, spec.network.apt_security_mirror)
    plain = [url for url in mirrors if urlparse(url).scheme == "http"]
    return not spec.network.proxy and all(urlparse(url).port in (None, 80) for url in plain)


def answers(url: str) -> bool:
    """Tell whether somebody listens at a URL."""
    parts = urlparse(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), apt_cache.ANSWER_S):
            return True
    except OSError:
        return False


def guest_url(spec: Spec, url: str) -> str:
    """Return a URL as a machine of the build reaches it: our loopback is its gateway's."""
    parts = urlparse(url)
    if parts.hostname not in LOOPBACK:
        return url
    if urlparse(spec.build.libvirt_uri).hostname:  # its machines are on another host
        return ""
    return f"http://{GATEWAY}:{parts.port or 80}"


def script(url: str) -> str:
    """Build the program that apt asks for a proxy; silence leaves apt to its other settings.

    Source: apt.conf(5), Acquire::http::Proxy-Auto-Detect.
    """
    parts = urlparse(url)
    door = f"/dev/tcp/{parts.hostname}/{parts.port or 80}"
    return (
        "#!/bin/bash\n# Only while a layer is applied: the cache of packages of the build's host.\n"
        "# $1 is a URL: what only this machine reaches, and large ports, are not for it.\n"
        'host=${1#*://}; host=${host%%/*}; port=${host#"${host%:*}"}; port=${port#:}\n'
        f'case "$host" in 127.* | localhost* | {GATEWAY} | {GATEWAY}:*) exit 0 ;; esac\n'
        f'[ "${{port:-80}}" -le {apt_cache.PORTS[-1]} ] || exit 0\n'
        f"timeout 3 bash -c ': <{door}' 2>/dev/null && echo {shlex.quote(url)}\nexit 0\n"
    )


def carries(url: str) -> bool:
    """Tell whether a mirror's packages can come through the cache; see `cacher.PORTS`."""
    return (urlparse(url).port or 80) <= apt_cache.PORTS[-1]


def lend(endpoint: Endpoint, cache: PackageCache | None) -> None:
    """Have a machine's apt ask the cache, until `withdraw`."""
    if cache is None or not cache.guest_url:
        return
    setting = f'Acquire::http::Proxy-Auto-Detect "{SCRIPT}";'
    command = (
        f"sudo tee {SCRIPT} >/dev/null && sudo chmod 755 {SCRIPT}"
        f" && echo {shlex.quote(setting)} | sudo tee {SETTING} >/dev/null"
    )
    ssh.execute(endpoint, command, stdin=script(cache.guest_url))


def withdraw(endpoint: Endpoint, cache: PackageCache | None) -> None:
    """Remove from a machine what `lend` has brought."""
    if cache is not None and cache.guest_url:
        ssh.execute(endpoint, ssh.as_root(endpoint.user, f"rm -f {SETTING} {SCRIPT}"))


def poisoned(error: CubeError) -> bool:
    """Tell whether apt was given something else than it wanted, not nothing at all."""
    return any(words in f"{error.message}\n{error.details}" for words in POISON)


def suspect(error: CubeError) -> bool:
    """Tell whether a failure may be the cache's."""
    return any(words in f"{error.message}\n{error.details}" for words in SUSPECT)


def reached(endpoint: Endpoint, cache: PackageCache | None) -> bool:
    """Tell whether a machine's apt goes through the cache now."""
    if cache is None or not cache.guest_url:
        return False
    try:
        return bool(ssh.execute(endpoint, SCRIPT, accept=(0, 126, 127)).stdout.strip())
    except CubeError:
        return False
