"""SSH to a machine: run commands, wait for sshd and for reboots, make keys."""

import contextlib
import logging
import select
import shlex
import socket
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import paramiko

from cube import log, run
from cube.errors import CommandError, MachineError
from cube.machines import Endpoint

#: Exit code that we give to a command whose connection broke, as by a reboot.
BROKEN = -1
#: Seconds for one attempt to connect, and for sshd's answers; a guest without KVM is slow.
CONNECT_S = 10.0
ANSWER_S = 60.0
#: Attempts to log in.
ATTEMPTS = 3
#: Seconds between two attempts: sshd bars a source that fails too often. Source:
#: sshd_config(5), PerSourcePenalties.
RETRY_S = 0.5
#: Seconds until the greeting must come, at first. A user-mode network accepts a connection
#: before the guest has an address and then backs off: a new connection is quicker.
GREETING_S = 1.0

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


def ssh_args(endpoint: Endpoint) -> list[str]:
    """Build the OpenSSH client's command for a machine; a command may follow."""
    return [
        "ssh", "-p", str(endpoint.port), "-i", str(endpoint.key_file),
        "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new",
        "-o", f"UserKnownHostsFile={endpoint.known_hosts}",
        f"{endpoint.user}@{endpoint.host}",
    ]  # fmt: skip


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
def connected(endpoint: Endpoint) -> Iterator[paramiko.SSHClient]:
    """Connect; a new host key is noted in the machine's own known_hosts, a changed one refused.

    Raises:
        MachineError: nobody answers, or the key is not let in.
    """
    client = paramiko.SSHClient()
    # A machine that was just made has no known key yet; this file is its own.
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507
    endpoint.known_hosts.touch(mode=0o600)
    try:
        client.load_host_keys(str(endpoint.known_hosts))
        _log_in(client, endpoint)
        yield client
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise MachineError(
            f"{endpoint.user}@{endpoint.host}:{endpoint.port}: {_reason(error)}",
            hint=f"try: {run.quote(ssh_args(endpoint))}",
        ) from error
    finally:
        client.close()


def _log_in(client: paramiko.SSHClient, endpoint: Endpoint) -> None:
    """Log in, again when the connection breaks: an sshd that restarts drops its newest one."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            client.connect(
                endpoint.host, endpoint.port, endpoint.user, key_filename=str(endpoint.key_file),
                allow_agent=False, look_for_keys=False,
                timeout=CONNECT_S, banner_timeout=ANSWER_S, auth_timeout=ANSWER_S,
            )  # fmt: skip
        except (paramiko.AuthenticationException, paramiko.BadHostKeyException):
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            if attempt == ATTEMPTS:
                raise
            log.debug(f"ssh {endpoint.host}:{endpoint.port}: {_reason(error)}; once more")
            time.sleep(RETRY_S)
        else:
            return


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def execute(
    endpoint: Endpoint,
    command: str,
    *,
    accept: Collection[int] = (0,),
    timeout_s: float = 300,
    stdin: str = "",
) -> run.Completed:
    """Run a command in the account's shell.

    Args:
        endpoint: the machine.
        command: one line for the shell; quote what is not yours with `shlex.quote`.
        accept: exit codes that are not failures; `BROKEN` for a connection that breaks.
        timeout_s: seconds until it must have ended.
        stdin: text for its standard input.

    Raises:
        MachineError: nobody answers, or the key is not let in.
        CommandError: the command took too long or ended with another code.
    """
    log.debug(f"ssh {endpoint.host}:{endpoint.port} $ {command}")
    deadline = time.monotonic() + timeout_s
    with connected(endpoint) as client:
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=ANSWER_S)
        channel.exec_command(command)
        channel.sendall(stdin.encode())
        channel.shutdown_write()
        done = _collect(channel, deadline)
    if done is None:
        raise CommandError(f"{command}: no end after {timeout_s:.0f} s")
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


def boot_id(endpoint: Endpoint) -> str:
    """Return the identity of the running boot. Source: random(4)."""
    return execute(endpoint, "cat /proc/sys/kernel/random/boot_id", timeout_s=60).stdout.strip()


def wait_for_ssh(
    endpoint: Endpoint,
    *,
    timeout_s: float,
    alive: Callable[[], bool],
    other_than: str = "",
) -> str:
    """Wait until a command runs on the machine.

    Args:
        endpoint: the machine.
        timeout_s: seconds until it must answer.
        alive: whether the machine still runs; it is given up at once when not.
        other_than: boot that does not count, to wait for a reboot.

    Returns:
        The boot's identity.

    Raises:
        MachineError: it died, or did not answer in time; the last reason is told.
    """
    started, patience_s = time.monotonic(), GREETING_S
    reason = "no attempt was made"
    while time.monotonic() - started < timeout_s:
        if not alive():
            raise MachineError(f"the machine stopped while SSH was waited for ({reason})")
        log.status(f"waiting for SSH, {time.monotonic() - started:.0f} s")
        try:
            _await_greeting(endpoint, patience_s)
            found = boot_id(endpoint)
        except (MachineError, CommandError, OSError) as error:
            reason = str(error)
            patience_s = min(patience_s * 1.3, CONNECT_S)
        else:
            if found != other_than:
                return found
            reason = "the old boot still answers"
        time.sleep(RETRY_S)
    raise MachineError(f"no SSH after {timeout_s:.0f} s: {reason}")


def _await_greeting(endpoint: Endpoint, timeout_s: float) -> None:
    """Return once sshd has greeted. Source: RFC 4253, 4.2."""
    with socket.create_connection((endpoint.host, endpoint.port), timeout_s) as stream:
        stream.settimeout(timeout_s)
        if not stream.recv(4).startswith(b"SSH-"):
            raise MachineError(f"port {endpoint.port}: no SSH server answers yet")


def reboot(endpoint: Endpoint, *, timeout_s: float, alive: Callable[[], bool]) -> str:
    """Restart the guest and wait for the next boot.

    Returns:
        The new boot's identity.

    Raises:
        MachineError: it did not come back.
    """
    before = boot_id(endpoint)
    execute(endpoint, "sudo systemctl reboot", accept=(0, BROKEN), timeout_s=60)
    return wait_for_ssh(endpoint, timeout_s=timeout_s, alive=alive, other_than=before)


def quote(word: str) -> str:
    """Quote a word for the remote shell."""
    return shlex.quote(word)
