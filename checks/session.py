"""The SSH side of one run of the checks: connections shared while it lasts, gone afterwards."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import testinfra
from testinfra.backend.base import CommandResult

from checks import shell
from checks.targets import CONNECT_S, TargetError
from cube.machines import address, openssh, ssh
from cube.machines.address import Address
from cube.runtime import run
from cube.runtime.errors import CommandError


def open_folder(targets: Sequence[Address]) -> Path:
    """Find the way to each target; make the private folder that holds shared connections.

    Raises:
        TargetError: OpenSSH cannot read its configuration.
    """
    # Not TMPDIR, which may be long: the path of a socket is limited.
    folder = Path(tempfile.mkdtemp(prefix="cube-checks-", dir="/tmp"))
    for target in targets:
        try:
            found = openssh.resolve(target)
        except CommandError as error:
            raise TargetError(f"{target.name}: {error.message}: {error.output}") from error
        shell.ways[target.name] = replace(found, sockets=found.sockets or folder)
    return folder


def close_folder(folder: Path, targets: Sequence[Address]) -> None:
    """End every shell and every connection that this run has opened, and remove the folder."""
    shell.close()
    for target in targets:
        way = shell.ways.pop(target.name, None)
        if way and way.sockets == folder:
            *words, destination = ssh.program_args(way, connect_s=CONNECT_S)
            run.run([*words, "-O", "exit", destination], accept=range(256))
    shutil.rmtree(folder, ignore_errors=True)


def host_spec(target: Address) -> str:
    """Return what testinfra connects by: a name that `checks.shell` knows, and sudo."""
    return f"ssh://{target.name}?timeout={CONNECT_S}&sudo=true"


def check_login(target: Address) -> None:
    """Log in and become root once, so that a closed door is one error and not a hundred.

    Raises:
        TargetError: the machine does not let us in, or sudo asks for a password.
    """
    way = shell.ways[target.name]
    login = address.lasting(way)
    try:
        result = testinfra.get_host(host_spec(target)).run("true")
    except RuntimeError as error:
        said = _last_line(error.args[0]) if error.args else ""
        command = run.quote(ssh.ssh_args(way))
        raise TargetError(
            f"{target.name}: cannot log in as {login}: {said}: try '{command}'"
        ) from error
    if result.rc:
        raise TargetError(
            f"{target.name}: {login} cannot use sudo without a password: {_last_line(result)}:"
            " cube apply and cube drift ask for it and run the checks"
        )


def _last_line(result: CommandResult) -> str:
    lines: list[str] = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit code {result.rc}"
