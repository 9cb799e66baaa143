"""What takes long, as a transient unit of systemd beside the operations that come next.

A unit outlives the connection. Source: systemd-run(1).
"""

from shlex import quote


def begin(unit: str, script: str) -> str:
    """Return the command that starts a shell script as a unit, unless it runs already."""
    return (
        f"systemctl is-active --quiet {unit}"
        f" || systemd-run --quiet --collect --unit={unit} sh -c {quote(script)}"
    )


def wait(unit: str, limit_s: int, *, unless: str = "") -> str:
    """Return the command that waits until a unit has ended; it fails when that takes too long.

    Args:
        unit: its name.
        limit_s: seconds to wait at most.
        unless: a shell command that succeeds once there is nothing more to wait for.
    """
    going_on = f"systemctl is-active --quiet {unit}" + (f" && ! {unless}" if unless else "")
    return f"timeout {limit_s} sh -c {quote(f'while {going_on}; do sleep 0.2; done')}"
