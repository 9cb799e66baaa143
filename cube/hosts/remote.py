"""Commands on a host, by the OpenSSH client: the user's configuration, agent and keys count there.

Every script goes to root's ``sh`` on standard input, and its answer comes back between marks:
neither the login shell nor what it prints matters.
"""

import atexit
from collections.abc import Callable, Collection
from dataclasses import replace

from cube.hosts import passwords
from cube.hosts.target import Box
from cube.machines import address, boot, ssh
from cube.runtime import log, run
from cube.runtime.errors import CommandError, MachineError
from cube.runtime.run import Completed
from cube.runtime.shell import Answer, Shell, shown

#: Seconds for one attempt to connect.
CONNECT_S = 15
#: Seconds for a login and its shell's first answer.
LOGIN_S = 60.0
#: Seconds between two looks at a box that restarts.
RETRY_S = 2.0
#: Ways to become root that are tried: sudo, with a terminal, with a password, su.
WAYS = 4
#: What a server that bars an address leaves of the connection.
#: Source: OpenSSH 10, sshd.c, "Not allowed at this time"; sshd_config(5), PerSourcePenalties
BARRED = ("kex_exchange_identification", "Connection closed", "Connection reset", "Not allowed")
#: What sudo and su say. Source: sudo 1.9 and sudo-rs, check.c, sudo.c; util-linux, su-common.c
WANTS_TERMINAL = ("must have a tty", "must be run from a terminal")
WANTS_PASSWORD = ("a password is required", "interactive authentication is required")
FORBIDS = ("not in the sudoers file", "may not run sudo", "not allowed to", "there is no sudo")
#: A shell's code, and that of env, for a program that is not there. Source: env(1), EXIT STATUS
MISSING = 127


class RightsError(MachineError):
    """The host lets us in, but not as root; `reason` says why."""

    reason: str = ""


def login_args(box: Box) -> list[str]:
    """Build the command that opens a shell on a host, to become root's."""
    return ssh.shell_args(box.endpoint, box.endpoint.rights, connect_s=CONNECT_S)


def open_shell(box: Box, *, setup: str = "") -> Shell:
    """Return root's shell on a host; it connects at its first command, and the caller closes it."""
    return Shell(login_args(box), rights=box.endpoint.rights, setup=setup)


def hang_up(box: Box) -> None:
    """Close the connection that is kept open, if there is one."""
    sockets = box.endpoint.sockets
    if sockets and sockets.is_dir() and any(sockets.iterdir()):
        *words, destination = ssh.program_args(box.endpoint, connect_s=CONNECT_S)
        with log.apart(lambda _: None):  # after Ctrl-C, whoever listens ends the thread instead
            run.run([*words, "-O", "exit", destination], accept=range(256))


def reach(box: Box) -> Box:
    """Log in and become root once; return how.

    All of the user's keys are offered in this one connection, which then stays open: a server
    that counts failed connections bars an address after a few.

    Raises:
        MachineError: the host does not answer, does not let us in, or not as root.
    """
    if not box.endpoint.sockets:
        box = replace(box, endpoint=replace(box.endpoint, sockets=passwords.private_folder()))
        atexit.register(hang_up, box)
    try:
        return become_root(box)
    except CommandError as error:
        hang_up(box)
        raise MachineError(
            f"{box.name}: {address.lasting(box.endpoint)}: the login shell does not answer:"
            f" {error.message.removeprefix(f'{box.name}: ')}",
            hint="look at what ~/.bashrc or ~/.profile of this account runs",
        ) from error
    except MachineError:
        hang_up(box)
        raise


def become_root(box: Box) -> Box:
    """Become root in one of the ways that there are; return how.

    Raises:
        MachineError: there is none.
        CommandError: the login shell does not answer.
    """
    for _ in range(WAYS):
        try:
            execute(box, "true", timeout_s=LOGIN_S)
        except RightsError as error:
            box = other_way(box, error)
        else:
            return box
    execute(box, "true", timeout_s=LOGIN_S)
    return box


def other_way(box: Box, error: RightsError) -> Box:
    """Return another way to become root on a host.

    Raises:
        RightsError: there is none.
    """
    access, reason = box.endpoint, error.reason
    if not access.terminal and any(text in reason for text in WANTS_TERMINAL):
        return replace(box, endpoint=replace(access, terminal=True))
    if not access.secret and any(text in reason for text in WANTS_PASSWORD):
        whose = "root for su" if access.become == "su" else f"{access.user} for sudo"
        secret = passwords.ask(f"password of {whose}", error)
        return replace(box, endpoint=replace(access, secret=secret))
    if access.become == "sudo" and any(text in reason for text in FORBIDS):
        secret = passwords.ask("password of root for su", error)
        return replace(box, endpoint=replace(access, become="su", secret=secret))
    raise error


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
    answer = ask(box, script, timeout_s=timeout_s)
    if answer.lost:
        raise refusal(box, answer, script)
    stdout, stderr = (text.decode(errors="replace") for text in (answer.stdout, answer.stderr))
    if answer.returncode not in accept:
        raise CommandError(
            f"{box.name}: {shown(script)}: exit code {answer.returncode}",
            returncode=answer.returncode,
            output=run.tail(stdout + stderr),
        )
    return Completed(returncode=answer.returncode, stdout=stdout, stderr=stderr)


def ask(
    box: Box, script: str, *, timeout_s: float, on_line: Callable[[str], None] | None = None
) -> Answer:
    """Run a shell script as root and return its answer, also a lost one.

    Raises:
        CommandError: it took too long.
    """
    log.debug(f"{box.name} # {script}")
    shell = open_shell(box)
    try:
        return shell.run(script, timeout_s=timeout_s, on_line=on_line)
    except CommandError as error:
        error.message = f"{box.name}: {error.message}"
        raise
    finally:
        shell.close()


def refusal(box: Box, answer: Answer, script: str) -> MachineError:
    """Build the error for a shell that did not answer."""
    said = last_line(answer)
    access = box.endpoint
    login = address.lasting(access)
    if answer.begun:
        return MachineError(f"{box.name}: the connection broke: {shown(script)}: {said}")
    if answer.returncode == ssh.FAILED:
        return MachineError(
            f"{box.name}: cannot log in as {login}: {said}", hint=login_hint(box, said)
        )
    found = RightsError(f"{box.name}: {login} cannot become root: {said}", hint=rights_hint(box))
    found.reason = said
    return found


def last_line(answer: Answer) -> str:
    """Return the last words of a shell that did not answer."""
    text = (answer.stderr.strip() or answer.stdout.strip()).decode(errors="replace")
    if answer.returncode == MISSING and "sudo" in text:
        return "there is no sudo"
    return (text.splitlines() or [f"exit code {answer.returncode}"])[-1]


def login_hint(box: Box, said: str) -> str:
    """Say what to do about a host that does not let us in."""
    command = run.quote(ssh.ssh_args(box.endpoint))
    if said.startswith("exit code") or any(text in said for text in BARRED):
        return (
            "sshd bars an address for up to ten minutes after failed connections: wait, then"
            f" try: {command}"
        )
    if "Permission denied" in said:
        return f"a key with a passphrase needs an agent (ssh-add); try: {command}"
    return f"try: {command}"


def rights_hint(box: Box) -> str:
    """Say what to do about a host that does not let us be root."""
    return (
        "run it in a terminal, which asks for the password once; or on the host: echo"
        f" '{box.endpoint.user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/cube"
    )


def boot_id(box: Box) -> str:
    """Return the identity of the running boot. Source: random(4).

    Raises:
        MachineError: the answer is none.
    """
    found = execute(box, boot.BOOT_ID).stdout.strip()
    if not boot.IDENTITY.fullmatch(found):
        raise MachineError(f"{box.name}: the identity of its boot cannot be read: {found[:80]!r}")
    return found


def reboot(box: Box, *, timeout_s: float) -> None:
    """Restart a box once and wait for the next boot.

    Raises:
        MachineError: it did not come back in time; the last reason is told.
        CommandError: it refuses to restart.
    """
    before = boot_id(box)
    answer = ask(box, "systemctl reboot", timeout_s=120)
    if answer.returncode and not answer.lost:
        raise CommandError(
            f"{box.name}: systemctl reboot: exit code {answer.returncode}",
            returncode=answer.returncode,
            output=run.tail(answer.stderr.decode(errors="replace")),
        )
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
