"""A machine's boots, as SSH sees them: which one runs, waiting for the next, restarting."""

import re
import socket
import time
from collections.abc import Callable

from cube.machines import Endpoint, ssh
from cube.runtime import log
from cube.runtime.errors import CommandError, MachineError

#: An orderly restart that does not ask logind, who waits seconds until unattended-upgrades has
#: heard of it. An upgrade that runs is waited for in any case, when its unit is stopped.
#: Source: systemctl(1), "reboot"; unattended-upgrades.service, TimeoutStopSec.
RESTART = "systemctl start --no-block --job-mode=replace-irreversibly reboot.target"
#: Seconds between two looks while no sshd is there that could count them.
SILENT_S = 0.1
#: Seconds until the greeting must come, at first. A user-mode network accepts a connection
#: before the guest has an address and then backs off: a new connection is quicker.
GREETING_S = 0.5
#: The limits of all boots, in seconds: of a container, of a virtual machine by its accelerator,
#: and of a host, whose firmware may test all of its memory. Translated code (tcg) needs about a
#: minute on an idle machine.
CONTAINER_S = 180.0
VM_S = {"kvm": 180.0, "hvf": 180.0, "tcg": 900.0}
HOST_S = 900.0
#: Seconds for all units of a boot to settle. Without KVM two minutes were measured.
SETTLE_S = 600
#: Source: systemctl(1), is-system-running --wait, whose exit codes but 0 say "not running".
SETTLE = f"timeout {SETTLE_S} systemctl is-system-running --wait"

#: Source: random(4).
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: What an sshd says instead of its greeting to an address that it bars. Source: OpenSSH 10, sshd.c
BARRED = b"Not allowed at this time"

#: Seconds for the identity of a boot: a guest without KVM on a busy machine took over 60.
IDENTITY_S = 240


def identity(endpoint: Endpoint, *, attempts: int = ssh.ATTEMPTS) -> str:
    """Return the identity of the running boot.

    Raises:
        MachineError: the answer is none.
    """
    done = ssh.execute(endpoint, BOOT_ID, timeout_s=IDENTITY_S, attempts=attempts)
    found = done.stdout.strip()
    if not IDENTITY.fullmatch(found):
        raise MachineError(f"the identity of the boot cannot be read: {found[:80]!r}")
    return found


def wait(
    endpoint: Endpoint,
    *,
    timeout_s: float,
    alive: Callable[[], bool],
    other_than: str = "",
) -> str:
    """Wait until a command runs on a machine of the pipeline; see `wait_for`."""
    attempt = Greeting(endpoint)
    return wait_for(
        attempt,
        what="no SSH",
        timeout_s=timeout_s,
        alive=alive,
        other_than=other_than,
        pause_s=lambda: attempt.pause_s,
    )


def wait_for(
    attempt: Callable[[], str],
    *,
    what: str,
    timeout_s: float,
    alive: Callable[[], bool] = lambda: True,
    other_than: str = "",
    pause_s: Callable[[], float],
) -> str:
    """Wait until a boot answers: of a machine of the pipeline, or of a host.

    Args:
        attempt: returns the identity of the running boot, or says why it does not answer.
        what: begins the error, such as "no SSH".
        timeout_s: seconds until it must answer.
        alive: whether the machine still runs; it is given up at once when not.
        other_than: boot that does not count, to wait for a reboot.
        pause_s: seconds until the next attempt.

    Returns:
        The boot's identity.

    Raises:
        MachineError: it died, or did not answer in time; the last reason is told.
    """
    started, told, reason = time.monotonic(), "", "no attempt was made"
    while time.monotonic() - started < timeout_s:
        if not alive():
            raise MachineError(f"the machine stopped while waiting for SSH ({reason})")
        waited = f"waiting for SSH, {time.monotonic() - started:.0f} s"
        if waited != told:
            log.status(told := waited)
        try:
            found = attempt()
        except (MachineError, CommandError, OSError) as error:
            reason = str(error)
        else:
            if found != other_than:
                return found
            reason = "the old boot still answers"
        time.sleep(pause_s())
    raise MachineError(f"{what} within {timeout_s:.0f} s: {reason}")


class Greeting:
    """Asks for the identity of the boot once sshd has greeted."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._patience_s = GREETING_S
        self.pause_s = SILENT_S

    def __call__(self) -> str:
        """Return the identity of the running boot.

        Raises:
            OSError: nobody greets.
            MachineError: who answers is no sshd, or does not let us in.
            CommandError: the command failed.
        """
        self.pause_s = SILENT_S
        try:
            _await_greeting(self._endpoint, self._patience_s)
            self.pause_s = ssh.RETRY_S
            # Once: an sshd that goes down has greeted too, and the greeting is the quicker wait.
            return identity(self._endpoint, attempts=1)
        except ConnectionRefusedError:
            raise
        except (MachineError, CommandError, OSError):
            self._patience_s = min(self._patience_s * 1.3, ssh.CONNECT_S)
            raise


def greets(endpoint: Endpoint, *, timeout_s: float = ssh.CONNECT_S) -> bool:
    """Tell whether an SSH server answers; its address may also be a name."""
    try:
        _await_greeting(endpoint, timeout_s)
    except (MachineError, OSError):
        return False
    return True


def _await_greeting(endpoint: Endpoint, timeout_s: float) -> None:
    """Return once sshd has greeted. Source: RFC 4253, 4.2."""
    with socket.create_connection((endpoint.host, endpoint.port), timeout_s) as stream:
        stream.settimeout(timeout_s)
        greeting = stream.recv(len(BARRED))
        if greeting.startswith(BARRED[:4]):
            raise MachineError(
                f"port {endpoint.port}: sshd bars this address for a while, because connections"
                " failed before (PerSourcePenalties)"
            )
        if not greeting.startswith(b"SSH-"):
            raise MachineError(f"port {endpoint.port}: no SSH server answers yet")


def restart(endpoint: Endpoint, *, timeout_s: float, alive: Callable[[], bool]) -> str:
    """Restart the guest and wait for the next boot.

    Returns:
        The new boot's identity.

    Raises:
        MachineError: it did not come back.
    """
    before = identity(endpoint)
    command = ssh.as_root(endpoint.user, RESTART)
    ssh.execute(endpoint, command, accept=(0, ssh.BROKEN), timeout_s=60)
    return wait(endpoint, timeout_s=timeout_s, alive=alive, other_than=before)


def settle(endpoint: Endpoint) -> None:
    """Wait until the units of the running boot have settled, well or not, for `SETTLE_S` seconds.

    sshd answers before others have started, and a service that is still starting proves nothing.

    Raises:
        MachineError: nobody answers.
        CommandError: systemd did not answer, not even that it has not settled.
    """
    log.status("waiting until all units have settled")
    ssh.execute(endpoint, SETTLE, accept=(*range(256), ssh.BROKEN), timeout_s=SETTLE_S + 60)
