"""Virtual environments made from locked requirements."""

import hashlib
from collections.abc import Generator
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
    options = f"{index_options(index)} " if index else ""
    yield StringCommand(
        f"rm -rf {path} && mkdir -p {path} && python3 -m venv --without-pip {path}"
        f" && cat > {lock}.new && {proxy_variables(proxy)}"
        f"PIP_CERT={BUNDLE} PIP_DISABLE_PIP_VERSION_CHECK=1"
        f" python3 -m pip --python {path}/bin/python install --quiet --no-cache-dir"
        f" --require-hashes --no-deps --only-binary :all: {options}-r {lock}.new"
        f" && mv {lock}.new {lock}",
        _stdin=requirements,
    )


def index_options(index: str) -> str:
    """Return what tells pip of an index; over plain http it trusts one only if it is told to.

    What comes from there is what the lock's hashes say, or refused.
    """
    trusted = f" --trusted-host {urlsplit(index).netloc.rpartition('@')[2]}"
    return f"--index-url {index}{trusted if index.startswith('http://') else ''}"


def proxy_variables(proxy: str) -> str:
    """Return assignments for a command that goes through a proxy, but not to the build's host."""
    names = ("HTTP_PROXY", "HTTPS_PROXY") if proxy else ()
    direct = f"NO_PROXY={GATEWAY} " if proxy else ""
    return "".join(f"{name}={quote(proxy)} " for name in names) + direct
