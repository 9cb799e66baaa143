"""Commands on a box, by the OpenSSH client: the user's agent and known hosts count there."""

from collections.abc import Collection, Sequence

from cube.hosts.target import Box
from cube.machines import address, boot, ssh
from cube.runtime import log, run
from cube.runtime.errors import CommandError, MachineError
from cube.runtime.run import Completed

#: Seconds for one attempt to connect.
CONNECT_S = 15
#: Seconds between two looks at a box that restarts.
RETRY_S = 2.0
#: Seconds until a kept connection closes by itself, should nobody close it.
PERSIST_S = 60


def login_args(box: Box, script: str) -> list[str]:
    """Build the command that runs a script as root on a box."""
    *words, destination = ssh.ssh_args(box.endpoint)
    return [
        *words,
        "-o",
        "BatchMode=yes",
        "-o",
        f"ConnectTimeout={CONNECT_S}",
        "-o",
        "ServerAliveInterval=15",
        "-o",
        "LogLevel=ERROR",
        *shared_args(box),
        destination,
        ssh.as_root(box.endpoint.user, script),
    ]


def shared_args(box: Box) -> list[str]:
    """Return options that keep one connection open; to log in takes more than most commands.

    Source: ssh_config(5), ControlMaster, ControlPersist; %C is a digest of user, host and port.
    """
    if not box.sockets:
        return []
    return [
        "-o",
        "ControlMaster=auto",
        "-o",
        f"ControlPath={box.sockets}/%C",
        "-o",
        f"ControlPersist={PERSIST_S}",
    ]


def hang_up(box: Box) -> None:
    """Close the connection that is kept open, if there is one."""
    if box.sockets and any(box.sockets.iterdir()):
        *words, destination = ssh.ssh_args(box.endpoint)
        close = [*words, *shared_args(box), "-O", "exit", destination]
        with log.apart(lambda _: None):  # after Ctrl-C, whoever listens ends the thread instead
            run.run(close, accept=range(256))


def reach(ways: Sequence[Box]) -> Box:
    """Return the first way to log in that a box lets in, and be root there once.

    Raises:
        MachineError: none is; the reason of the first is told.
    """
    refused: list[MachineError] = []
    for box in ways:
        try:
            execute(box, "true")
        except MachineError as error:
            refused.append(error)
        else:
            return box
    raise refused[0]


def execute(
    box: Box, script: str, *, accept: Collection[int] = (0,), timeout_s: float = 120
) -> Completed:
    """Run a shell script as root.

    Args:
        box: where.
        script: for ``sh -c``.
        accept: exit codes that are not failures.
        timeout_s: seconds until it must have ended.

    Raises:
        MachineError: the box does not answer or does not let us in, or not as root.
        CommandError: the script took too long or ended with another code.
    """
    done = run.run(login_args(box, script), accept=range(256), timeout_s=timeout_s)
    if done.returncode in accept:
        return done
    refuse_login(box, done)
    raise CommandError(
        f"{box.name}: {script.splitlines()[0]}: exit code {done.returncode}",
        returncode=done.returncode,
        output=run.tail(done.stdout + done.stderr),
    )


def refuse_login(box: Box, done: Completed) -> None:
    """Tell a closed door from a script that failed.

    Raises:
        MachineError: the door is closed.
    """
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    access = box.endpoint
    login = address.of(access)
    if done.returncode == ssh.FAILED:
        raise MachineError(
            f"{box.name}: cannot log in as {login}: {said}",
            hint=f"try: {run.quote(ssh.ssh_args(access))}",
        )
    if said.startswith("sudo:"):
        raise MachineError(
            f"{box.name}: {login} cannot use sudo without a password: {said}",
            hint=f"on the box: echo '{access.user} ALL=(ALL) NOPASSWD: ALL' |"
            " sudo tee /etc/sudoers.d/cube",
        )


def boot_id(box: Box) -> str:
    """Return the identity of the running boot. Source: random(4)."""
    return execute(box, boot.BOOT_ID).stdout.strip()


def reboot(box: Box, *, timeout_s: float) -> None:
    """Restart a box once and wait for the next boot.

    Raises:
        MachineError: it did not come back in time; the last reason is told.
    """
    before = boot_id(box)
    run.run(login_args(box, "systemctl reboot"), accept=(0, ssh.FAILED))
    hang_up(box)
    wait_for_boot(box, other_than=before, timeout_s=timeout_s)


def wait_for_boot(box: Box, *, other_than: str, timeout_s: float) -> str:
    """Wait until another boot than the named one answers; return its identity.

    Raises:
        MachineError: none did in time.
    """
    try:
        return boot.wait_for(
            lambda: boot_id(box),
            what=f"{box.name} did not come back",
            timeout_s=timeout_s,
            other_than=other_than,
            pause_s=lambda: RETRY_S,
        )
    except MachineError as error:
        error.hint = "look at its console"
        raise
