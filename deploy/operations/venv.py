"""Virtual environments made from locked requirements."""

import hashlib
from collections.abc import Generator, Mapping
from shlex import quote
from urllib.parse import urlsplit

from pyinfra import host
from pyinfra.api import StringCommand, operation

from deploy.facts.files import FileState, Stat

#: What Debian and Ubuntu trust; pip as its makers publish it brings certificates of its own.
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

#: Where a machine of a build finds the host of the build, which no proxy leads to.
#: Source: slirp4netns(1), qemu(1), user networking.
GATEWAY = "10.0.2.2"

#: Take the first line of the command's input, of `settings`: an index or a proxy may have a login,
#: and everybody may read the words of a command. What follows is left to who reads next.
#: Source: POSIX, read: it takes no byte behind its line.
TAKE_SETTINGS = 'IFS= read -r settings && eval "$settings"'


@operation()
def locked(
    path: str, requirements: str, *, index: str = "", proxy: str = ""
) -> Generator[StringCommand, None, None]:
    """Make a venv that holds exactly the locked requirements, installed by the system's pip.

    A pip in the venv would be one more package that nobody locked, and takes two seconds.
    The requirements are kept in the venv as its last file: a venv without them is not whole
    and is made anew.

    Args:
        path: folder of the venv.
        requirements: text of a requirements file; every line has a hash.
        index: package index; empty for pip's default.
        proxy: proxy URL; empty for none.
    """
    lock = f"{path}/requirements.txt"
    state: Stat | None = host.get_fact(FileState, path=lock)
    if state and state.sha256 == hashlib.sha256(requirements.encode()).hexdigest():
        host.noop(f"{path} is as locked")
        return
    yield StringCommand(
        f"rm -rf {path} && mkdir -p {path} && python3 -m venv --without-pip {path}"
        f" && {TAKE_SETTINGS} && cat > {lock}.new"
        f" && python3 -m pip --python {path}/bin/python install --quiet --no-cache-dir"
        f" --require-hashes --no-deps --only-binary :all: -r {lock}.new"
        f" && mv {lock}.new {lock}",
        _stdin=settings(environment(index, proxy)) + requirements,
    )


def environment(index: str, proxy: str) -> dict[str, str]:
    """Return what pip reads of its environment; over plain http it must be told to trust an index.

    What comes from there is what the lock's hashes say, or refused.
    """
    parts = urlsplit(index)
    trusted = {"PIP_TRUSTED_HOST": parts.netloc.rpartition("@")[2]}
    return {
        "PIP_CERT": BUNDLE,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **({"PIP_INDEX_URL": index} if index else {}),
        **(trusted if parts.scheme == "http" else {}),
        **through(proxy),
    }


def through(proxy: str) -> dict[str, str]:
    """Return what leads a program through a proxy, but not to the build's host."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") if proxy else ()
    return {**dict.fromkeys(names, proxy), **({"NO_PROXY": GATEWAY} if proxy else {})}


def settings(values: Mapping[str, str]) -> str:
    """Return the line of a shell that sets variables for programs."""
    return f"export {' '.join(f'{name}={quote(value)}' for name, value in values.items())}\n"
