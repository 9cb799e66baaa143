"""A machine's boots, as SSH sees them: which one runs, waiting for the next, restarting."""

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
#: Seconds for all units of a boot to settle. Without KVM two minutes were measured.
SETTLE_S = 300
#: Source: systemctl(1), is-system-running --wait, whose exit codes but 0 say "not running".
SETTLE = f"timeout {SETTLE_S} systemctl is-system-running --wait"


def identity(endpoint: Endpoint, *, attempts: int = ssh.ATTEMPTS) -> str:
    """Return the identity of the running boot. Source: random(4)."""
    read = "cat /proc/sys/kernel/random/boot_id"
    return ssh.execute(endpoint, read, timeout_s=60, attempts=attempts).stdout.strip()


def wait(
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
    started, patience_s, told = time.monotonic(), GREETING_S, ""
    reason = "no attempt was made"
    while time.monotonic() - started < timeout_s:
        if not alive():
            raise MachineError(f"the machine stopped while SSH was waited for ({reason})")
        waited = f"waiting for SSH, {time.monotonic() - started:.0f} s"
        if waited != told:
            log.status(told := waited)
        pause_s = SILENT_S
        try:
            _await_greeting(endpoint, patience_s)
            pause_s = ssh.RETRY_S
            # Once: an sshd that goes down has greeted too, and the greeting is the quicker wait.
            found = identity(endpoint, attempts=1)
        except (MachineError, CommandError, OSError) as error:
            reason = str(error)
            if not isinstance(error, ConnectionRefusedError):
                patience_s = min(patience_s * 1.3, ssh.CONNECT_S)
        else:
            if found != other_than:
                return found
            reason = "the old boot still answers"
        time.sleep(pause_s)
    raise MachineError(f"no SSH after {timeout_s:.0f} s: {reason}")


def _await_greeting(endpoint: Endpoint, timeout_s: float) -> None:
    """Return once sshd has greeted. Source: RFC 4253, 4.2."""
    with socket.create_connection((endpoint.host, endpoint.port), timeout_s) as stream:
        stream.settimeout(timeout_s)
        if not stream.recv(4).startswith(b"SSH-"):
            raise MachineError(f"port {endpoint.port}: no SSH server answers yet")


def restart(endpoint: Endpoint, *, timeout_s: float, alive: Callable[[], bool]) -> str:
    """Restart the guest and wait for the next boot.

    Returns:
        The new boot's identity.

    Raises:
        MachineError: it did not come back.
    """
    before = identity(endpoint)
    ssh.execute(endpoint, f"sudo {RESTART}", accept=(0, ssh.BROKEN), timeout_s=60)
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
