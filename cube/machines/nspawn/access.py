"""Letting the build key in, where cloud-init does not do it."""

import os
from pathlib import Path

from cube.machines import BUILD_USER
from cube.runtime.errors import MachineError


def let_in(root: Path, public_key: Path) -> None:
    """Let a key in for the build account.

    Args:
        root: the mounted root.
        public_key: file with one line.

    Raises:
        MachineError: the image has no such account.
    """
    entries = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    found = [entry for entry in entries if entry[0] == BUILD_USER]
    if not found:
        raise MachineError(
            f"the image has no account {BUILD_USER}",
            hint="a sealed image has none: boot it as a vm, with a seed",
        )
    uid, gid, home = int(found[0][2]), int(found[0][3]), found[0][5]
    folder = root / home.lstrip("/") / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    keys = folder / "authorized_keys"
    keys.write_text(public_key.read_text())
    keys.chmod(0o600)
    for path in (folder, keys):
        os.chown(path, uid, gid)
