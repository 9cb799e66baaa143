"""Virtual environments made from locked requirements."""

import hashlib
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from deploy.facts.files import FileState, Stat

#: What Debian and Ubuntu trust; pip as its makers publish it brings certificates of its own.
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


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
    options = f"--index-url {index} " if index else ""
    options += f"--proxy {proxy} " if proxy else ""
    yield StringCommand(
        f"rm -rf {path} && mkdir -p {path} && python3 -m venv --without-pip {path}"
        f" && cat > {lock}.new && PIP_CERT={BUNDLE} PIP_DISABLE_PIP_VERSION_CHECK=1"
        f" python3 -m pip --python {path}/bin/python install --quiet --no-cache-dir"
        f" --require-hashes --no-deps --only-binary :all: {options}-r {lock}.new"
        f" && mv {lock}.new {lock}",
        _stdin=requirements,
    )
