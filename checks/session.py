"""The SSH side of one run of the checks: connections shared while it lasts, gone afterwards."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from checks import shell
from checks.targets import CONNECT_S, TargetError
from cube.machines import address, openssh, ssh
from cube.machines.address import Address
from cube.runtime import run
from cube.runtime.errors import CommandError
from cube.runtime.shell import Answer

#: Seconds for a login and its shell's first answer: sshd grants a session once the manager of the
#: account runs, which took over a minute in a guest without KVM on a busy machine.
LOGIN_S = 240.0


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
    lines = (run.quote(ssh.ssh_args(shell.ways[target.name])) for target in targets)
    (folder / "targets").write_text("".join(f"{line}\n" for line in lines))
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
        answer = shell.open_shell(target.name, root=True).run("true", timeout_s=LOGIN_S)
    except CommandError as error:
        raise TargetError(
            f"{target.name}: the login shell of {login} does not answer: look at what its ~/.bashrc"
            f" runs: {error.message}"
        ) from error
    said = _last_line(answer)
    if answer.lost and answer.returncode == ssh.FAILED:
        command = run.quote(ssh.ssh_args(way))
        raise TargetError(f"{target.name}: cannot log in as {login}: {said}: try '{command}'")
    if answer.lost:
        raise TargetError(
            f"{target.name}: {login} cannot use sudo without a password: {said}:"
            " cube apply and cube drift ask for it and run the checks"
        )


def _last_line(answer: Answer) -> str:
    text = (answer.stderr.strip() or answer.stdout.strip()).decode(errors="replace")
    return (text.splitlines() or [f"exit code {answer.returncode}"])[-1]
