"""SSH to a machine: run commands, make keys."""

import contextlib
import logging
import re
import select
import shlex
import socket
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import paramiko

from cube.machines import Endpoint, address
from cube.runtime import log, run
from cube.runtime.errors import CommandError, MachineError
from deploy.connector import entry
from deploy.connector.entry import Rights

#: What the OpenSSH client ends with when it failed itself. Source: ssh(1), EXIT STATUS.
FAILED = 255
#: Exit code that we give to a command whose connection broke, as by a reboot.
BROKEN = -1
#: Seconds for one attempt to connect, and for sshd's answers, key exchange and login each: a guest
#: without KVM is slow.
CONNECT_S = 10.0
ANSWER_S = 60.0
#: What paramiko says when the key exchange has not ended in time, or the server has hung up since.
NOT_EXCHANGED = "No existing session"
#: Attempts to log in.
ATTEMPTS = 3
#: Seconds between two attempts: sshd bars a source that fails too often. Source:
#: sshd_config(5), PerSourcePenalties.
RETRY_S = 0.5

#: A path that needs no quotes.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+@=-]+")

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


#: What a person's configuration of OpenSSH may say of logins, and a program's must not: a
#: command of its own, local commands, forwarded ports that are taken already, a terminal, nothing
#: on standard input, no answer. Source: ssh_config(5)
FOR_PROGRAMS = (
    "-T", "-a", "-x",
    "-o", "RemoteCommand=none",
    "-o", "SessionType=default",
    "-o", "StdinNull=no",
    "-o", "ForkAfterAuthentication=no",
    "-o", "PermitLocalCommand=no",
    "-o", "ClearAllForwardings=yes",
    "-o", "BatchMode=yes",
    "-o", "LogLevel=ERROR",
    "-o", "ServerAliveInterval=15",
    "-o", "ServerAliveCountMax=4",
)  # fmt: skip
#: Seconds until a kept connection closes by itself, should nobody close it.
PERSIST_S = 60


def ssh_args(endpoint: Endpoint) -> list[str]:
    """Build the OpenSSH client's command for a machine; a command may follow."""
    strict = "yes" if endpoint.strict else "accept-new"
    known = endpoint.known_hosts
    return [
        "ssh",
        *([] if endpoint.alias else ["-F", "none"]),
        "-p",
        str(endpoint.port),
        *key_args(endpoint.key_file),
        "-o",
        f"StrictHostKeyChecking={strict}",
        *(["-o", f"UserKnownHostsFile={as_word(known)}"] if known else []),
        f"{endpoint.user}@{endpoint.alias or endpoint.host}",
    ]


def program_args(endpoint: Endpoint, *, connect_s: float) -> list[str]:
    """Build the OpenSSH client's command for a program, to which a command must be added."""
    *words, destination = ssh_args(endpoint)
    timeout = ["-o", f"ConnectTimeout={connect_s:.0f}"]
    return [*words, *FOR_PROGRAMS, *timeout, *shared_args(endpoint.sockets), destination]


def shell_args(endpoint: Endpoint, rights: Rights, *, connect_s: float) -> list[str]:
    """Build the OpenSSH client's command that opens a shell, which then becomes root's."""
    return [*program_args(endpoint, connect_s=connect_s), entry.command(rights)]


def shared_args(sockets: Path | None) -> list[str]:
    """Return options that keep one connection open; to log in takes more than most commands.

    Source: ssh_config(5), ControlMaster, ControlPersist; %C is a digest of user, host and port.
    """
    if not sockets:
        return ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
    return [
        "-o",
        "ControlMaster=auto",
        "-o",
        f"ControlPath={sockets}/%C",
        "-o",
        f"ControlPersist={PERSIST_S}",
    ]


def key_args(path: Path | None) -> list[str]:
    """Build the options that name a key, the only one then.

    Not -i where the path has a %: it looks for the file of that very name, then takes the % for
    the beginning of a token. Source: OpenSSH, ssh.c, -i; ssh_config(5), TOKENS.
    """
    if not path:
        return []
    key = ["-o", f"IdentityFile={as_word(path)}"] if "%" in str(path) else ["-i", str(path)]
    return [*key, "-o", "IdentitiesOnly=yes"]


def as_word(path: Path) -> str:
    """Write a path as one word of ssh's configuration, or of ``-o``, where % begins a token.

    Source: ssh_config(5): arguments in double quotes may hold blanks; OpenSSH, misc.c,
    argv_split: within them a backslash escapes quotes and itself.
    """
    escaped = str(path).replace("%", "%%")
    if PLAIN_PATH.fullmatch(escaped):
        return escaped
    for char in "\\\"'":
        escaped = escaped.replace(char, f"\\{char}")
    return f'"{escaped}"'


def make_key(path: Path) -> str:
    """Make an ed25519 key pair without a passphrase; the private half has mode 600.

    Returns:
        The public key's line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    public = path.with_name(path.name + ".pub")
    path.unlink(missing_ok=True)
    public.unlink(missing_ok=True)
    run.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "cube", "-f", path])
    return public.read_text().strip()


@contextlib.contextmanager
def connected(endpoint: Endpoint, *, attempts: int = ATTEMPTS) -> Iterator[paramiko.SSHClient]:
    """Connect; a new host key is noted in the machine's own known_hosts, a changed one refused.

    Args:
        endpoint: the machine.
        attempts: how often to try while connections break: an sshd that restarts drops its
            newest one.

    Raises:
        MachineError: nobody answers, or the key is not let in.
    """
    client = paramiko.SSHClient()
    # A machine that was just made has no known key yet; this file is its own.
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507
    assert endpoint.known_hosts is not None
    endpoint.known_hosts.touch(mode=0o600)
    try:
        client.load_host_keys(str(endpoint.known_hosts))
        _log_in(client, endpoint, attempts)
        yield client
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise MachineError(
            f"{address.of(endpoint)}: {_reason(error)}",
            hint=f"try: {run.quote(ssh_args(endpoint))}",
        ) from error
    finally:
        client.close()


def _log_in(client: paramiko.SSHClient, endpoint: Endpoint, attempts: int) -> None:
    """Log in, again when the connection breaks."""
    for attempt in range(1, attempts + 1):
        try:
            client.connect(
                endpoint.host,
                endpoint.port,
                endpoint.user,
                key_filename=str(endpoint.key_file),
                allow_agent=False,
                look_for_keys=False,
                # With a socket, the timeout is that of the key exchange alone.
                sock=socket.create_connection((endpoint.host, endpoint.port), CONNECT_S),
                timeout=ANSWER_S,
                banner_timeout=ANSWER_S,
                auth_timeout=ANSWER_S,
            )
        except (paramiko.AuthenticationException, paramiko.BadHostKeyException):
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            if attempt == attempts:
                raise
            log.debug(f"ssh {address.of(endpoint)}: {_reason(error)}; once more")
            time.sleep(RETRY_S)
        else:
            return


def _reason(error: Exception) -> str:
    if str(error) == NOT_EXCHANGED:
        return f"the SSH server did not exchange keys within {ANSWER_S:.0f} s, or hung up"
    return str(error) or type(error).__name__


def execute(
    endpoint: Endpoint,
    command: str,
    *,
    accept: Collection[int] = (0,),
    timeout_s: float = 300,
    stdin: str = "",
    attempts: int = ATTEMPTS,
) -> run.Completed:
    """Run a command in the account's shell.

    Args:
        endpoint: the machine.
        command: one line for the shell; quote what is not yours with `shlex.quote`.
        accept: exit codes that are not failures; `BROKEN` for a connection that breaks.
        timeout_s: seconds until sshd must have granted a session for it, and until it must have
            ended after that.
        stdin: text for its standard input.
        attempts: how often to log in while connections break.

    Raises:
        MachineError: nobody answers, or the key is not let in.
        CommandError: the command took too long or ended with another code.
    """
    log.debug(f"ssh {address.of(endpoint)} $ {command}")
    with connected(endpoint, attempts=attempts) as client:
        transport = client.get_transport()
        assert transport is not None
        # sshd grants a session once PAM has one, for which systemd starts the account's manager:
        # more than a minute in a guest without KVM whose other units start at that time.
        channel = transport.open_session(timeout=max(ANSWER_S, timeout_s))
        deadline = time.monotonic() + timeout_s
        channel.exec_command(command)
        channel.sendall(stdin.encode())
        channel.shutdown_write()
        done = _collect(channel, deadline)
    if done is None:
        raise CommandError(f"{command}: did not end within {timeout_s:.0f} s")
    if done.returncode not in accept:
        output = run.tail(done.stdout + done.stderr)
        raise CommandError(
            f"{command}: exit code {done.returncode}", returncode=done.returncode, output=output
        )
    return done


def _collect(channel: paramiko.Channel, deadline: float) -> run.Completed | None:
    """Read both streams to their end; None when the deadline comes first."""
    out, err = bytearray(), bytearray()
    while True:
        ended = channel.closed or (channel.eof_received and channel.exit_status_ready())
        while channel.recv_ready():
            out += channel.recv(1 << 16)
        while channel.recv_stderr_ready():
            err += channel.recv_stderr(1 << 16)
        if ended:
            break
        if time.monotonic() > deadline:
            return None
        select.select([channel], [], [], 0.2)
    return run.Completed(
        returncode=channel.exit_status if channel.exit_status_ready() else BROKEN,
        stdout=out.decode(errors="replace"),
        stderr=err.decode(errors="replace"),
    )


def as_root(user: str, script: str) -> str:
    """Return the command that runs a shell script as root for an account that may use sudo."""
    root = "" if user == "root" else "sudo -n "
    return f"{root}sh -c {shlex.quote(script)}"


def quote(word: str) -> str:
    """Quote a word for the remote shell."""
    return shlex.quote(word)
