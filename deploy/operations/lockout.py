"""A change that could lock us out takes itself back, unless a new login gets in.

`armed` has the host note its settings of sshd and the firewall before an operation changes them,
and set a timer that brings them back. `confirm` logs in anew, by the same connector with the same
data (so through the same jump host, with the same key), and stops the timer. All of it is on the
host by then, so whatever ends this run, the settings come back.
"""

import time
from collections.abc import Callable, Generator

import gevent
from pyinfra import host, logger
from pyinfra.api import StringCommand, operation
from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.operation import PyinfraOperation
from pyinfra.api.state import State

from deploy.connector import openssh
from deploy.facts.apt import FileExists
from deploy.runner import event_file

#: Seconds until a change that nobody has confirmed takes itself back.
ARMED_S = 120
#: Where the program of the host and its notes are.
FOLDER = "/run/cube/lockout"
PROGRAM = f"{FOLDER}/program"
ARM = (
    f"mkdir -p {FOLDER} && chmod 700 {FOLDER} && cat >{PROGRAM}.new"
    f" && mv {PROGRAM}.new {PROGRAM} && sh {PROGRAM} arm {ARMED_S}"
)
RESTORE = f"sh {PROGRAM} restore && rm -rf {FOLDER}"
#: Seconds for one login, and before each of its attempts: sshd may be starting, ufw may limit the
#: rate. Few, or fail2ban takes us for a burglar.
LOGIN_S = 30
PAUSES_S = (1, 8)
#: Seconds between two attempts while the settings come back, and until we give up.
RETRY_S = 10
BACK_S = ARMED_S + 60
TOO_LATE = (
    f"the change of sshd or the firewall was not confirmed within {ARMED_S} s: the settings of"
    " before come back"
)


@operation()
def armed(
    inner: PyinfraOperation[...], program: str, **arguments: object
) -> Generator[object, None, None]:
    """Run another operation; if it changes anything, that takes itself back until `confirm`.

    Args:
        inner: an operation that changes settings of sshd or of the firewall.
        program: what the host notes and brings back its settings with, as text.
        arguments: its own.
    """
    commands = inner._inner(**arguments)
    first = next(commands, None)
    if first is None:
        return
    yield StringCommand(ARM, _stdin=program)
    yield first
    yield from commands


@operation()
def confirm() -> Generator[FunctionCommand, None, None]:
    """Keep what was changed, if a new login gets in; otherwise see it taken back, and fail."""
    if host.get_fact(FileExists, path=PROGRAM):
        yield FunctionCommand(keep_or_restore, (), {})
    else:
        host.noop("nothing waits for a new login")


def keep_or_restore(state: State, host: Host) -> bool:
    """Log in anew and disarm, or wait for the settings of before; return whether we disarmed."""
    refusal = log_in(state, host, "true", PAUSES_S)
    if not refusal and run(host, f"sh {PROGRAM} disarm"):
        return True
    cause = restored(state, host, refusal) if refusal else TOO_LATE
    logger.error(f"{host.print_prefix}{cause}")
    event_file.exit_host(host.name, code=1, cause=cause)
    return False


def restored(state: State, host: Host, refusal: str) -> str:
    """Bring the settings back, or wait until the host does; say what happened."""
    told = f"no new login got in after a change of sshd or the firewall ({refusal})"
    run(host, f"sh {PROGRAM} restore")  # at once, where the old connection still stands
    deadline = time.monotonic() + BACK_S
    while refusal and time.monotonic() < deadline:
        refusal = log_in(state, host, RESTORE, (RETRY_S,))
    if refusal:
        return (
            f"{told}; {ARMED_S} s later the host brought the settings of before back, yet a login"
            f" still fails ({refusal}): look at its console"
        )
    return f"{told}: the settings of before are back, and a login gets in again"


def run(host: Host, command: str) -> bool:
    """Run a command over the connection that stands; return whether it succeeded."""
    try:
        done, _ = host.run_shell_command(StringCommand(command), _sudo=as_root(host))
    except Exception as error:  # whatever a connector raises: the timer remains
        logger.warning(f"{host.print_prefix}{command}: {event_file.cause_of(error)}")
        return False
    return done


def as_root(host: Host) -> bool:
    """Tell whether the operation that runs uses sudo."""
    arguments = host.current_op_global_arguments
    return bool(arguments and arguments["_sudo"])


def log_in(state: State, host: Host, command: str, pauses_s: tuple[int, ...]) -> str:
    """Log in anew and run a command, as often as there are pauses; return why that failed."""
    refusal = ""
    for pause_s in pauses_s:
        time.sleep(pause_s)
        refusal = refused(lambda: knock(state, host, command))
        if not refusal:
            break
    return refusal


def refused(login: Callable[[], None]) -> str:
    """Try within the time for one login; return why it failed, or nothing."""
    overdue = TimeoutError(f"did not end within {LOGIN_S} s")
    try:
        with event_file.unreported(), gevent.Timeout(LOGIN_S, overdue):
            login()
    except Exception as error:  # whatever a connector raises is a refusal
        return event_file.cause_of(error)
    return ""


def knock(state: State, host: Host, command: str) -> None:
    """Open another connection, by the host's own connector and data, and run a command.

    OpenSSH's client would run it over the connection that this run has open, which a host that
    lets nobody in any more still serves.

    Raises:
        Exception: whatever the connector raises when it does not get in.
    """
    connector = host.connector_cls(state, host)
    settings = vars(connector).get("data", {})  # of this connection: no ingredient of a layer
    if "ssh_connect_retries" in settings:
        settings["ssh_connect_retries"] = 0
    if argv := settings.get("cube_ssh"):
        settings["cube_ssh"] = openssh.anew(argv)
    connector.connect()
    try:
        words = StringCommand(command)
        done, output = connector.run_shell_command(words, False, False, _sudo=as_root(host))
    finally:
        connector.disconnect()
        if client := getattr(connector, "client", None):
            client.close()
    if not done:
        raise ConnectError(f"logged in, but {command} failed: {output.output}")
