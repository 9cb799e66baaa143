"""The SSH side of one run of the checks: connections shared while it lasts, gone afterwards."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import testinfra
from testinfra.backend.base import CommandResult

from checks import shell
from checks.targets import CONNECT_S, SSH_PORT, TargetError, render_ssh_config
from cube.machines.address import Address


def open_folder(targets: Sequence[Address]) -> Path:
    """Make the private folder that holds the SSH configuration and the shared connections."""
    # Not TMPDIR, which may be long: the path of a socket is limited.
    folder = Path(tempfile.mkdtemp(prefix="cube-checks-", dir="/tmp"))
    (folder / "config").write_text(render_ssh_config(targets, folder))
    return folder


def close_folder(folder: Path, targets: Sequence[Address]) -> None:
    """End every shell and shared connection, and remove the folder."""
    shell.close()
    here = testinfra.get_host("local://")
    for target in targets:
        here.run("ssh -F %s -O exit %s", str(folder / "config"), target.name)
    shutil.rmtree(folder, ignore_errors=True)


def host_spec(target: Address, folder: Path) -> str:
    """Return what testinfra connects by: the SSH alias, its configuration, and sudo."""
    # controlpersist=0: the configuration says how connections are shared.
    return (
        f"ssh://{target.name}?ssh_config={folder}/config&controlpersist=0"
        f"&timeout={CONNECT_S}&sudo=true"
    )


def check_login(target: Address, folder: Path) -> None:
    """Log in and become root once, so that a closed door is one error and not a hundred.

    Raises:
        TargetError: the machine does not let us in, or sudo asks for a password.
    """
    login = replace(target, user=target.user or "you", port=target.port or SSH_PORT)
    try:
        result = testinfra.get_host(host_spec(target, folder)).run("true")
    except RuntimeError as error:
        said = _last_line(error.args[0]) if error.args else ""
        raise TargetError(
            f"{target.name}: cannot log in as {login}: {said}: try 'ssh ssh://{target}'"
        ) from error
    if result.rc:
        raise TargetError(
            f"{target.name}: {login} cannot use sudo without a password: {_last_line(result)}"
        )


def _last_line(result: CommandResult) -> str:
    lines: list[str] = result.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {result.rc}"
