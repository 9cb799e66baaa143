"""Units in their wanted state, in one look at all of them."""

from collections.abc import Generator, Sequence

from pyinfra import host, logger
from pyinfra.api import operation

from deploy.facts.systemd import READ, Reading, Readings, Units, digest
from deploy.operations import trial


@operation()
def units(
    names: str | Sequence[str],
    *,
    enabled: bool = True,
    running: bool | None = None,
    reads: Sequence[str] = (),
) -> Generator[str, None, None]:
    """Enable or disable units, and start or stop them.

    Args:
        names: one unit or several, with suffix: "docker.service".
        enabled: whether they start at boot. A masked unit is unmasked first.
        running: whether they run now; None leaves that to the next boot. A unit whose
            Condition forbids a start on this machine counts as running.
        reads: files that they read at their start; if one cannot, what was there before a
            change of this or of a broken run comes back (see `trial`).
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    found = host.get_fact(Units, names=names)
    wrong = [name for name in names if found[name].enabled != enabled]
    masked = [name for name in wrong if enabled and found[name].masked]
    if masked:
        yield f"systemctl unmask {' '.join(masked)}"
    if wrong:
        yield f"systemctl {'enable' if enabled else 'disable'} {' '.join(wrong)}"
    if running is None:
        return
    moved = [name for name in names if found[name].running != running]
    if running and reads:
        yield from (trial.start(name, reads, f"systemctl start {name}") for name in moved)
    elif moved:
        yield f"systemctl {'start' if running else 'stop'} {' '.join(moved)}"


@operation()
def masked(unit: str, *, harm: str, by_anybody: bool) -> Generator[str, None, None]:
    """Let nothing start a unit, unless the owner of the machine has chosen to have it.

    Args:
        unit: with suffix: "nftables.service".
        harm: what its start does; told where it stays enabled.
        by_anybody: mask it also where it is enabled: on an image nobody has chosen that.
    """
    found = host.get_fact(Units, names=(unit,))[unit]
    if found.masked:
        host.noop(f"{unit} is masked")
        return
    if found.enabled and not by_anybody:
        logger.warning(f"{host.print_prefix}{unit} stays enabled, somebody chose that: {harm}")
        return
    if found.enabled:
        yield f"systemctl disable {unit}"
    yield f"systemctl mask {unit}"


@operation()
def restart_if_older(
    unit: str,
    than: Sequence[str],
    *,
    check: str = "",
    guard: str = "",
    verb: str = "restart",
) -> Generator[str, None, None]:
    """Restart a running unit that has not read its files as they are now.

    It looks at what is on the host, not at what this run did: a run that breaks off between
    a new file and the restart is made good by the next. If the unit does not start, its files are
    put back as they were (see `trial`), it is started with those, and the operation fails.

    Args:
        unit: the unit; one that does not run is left alone.
        than: its files.
        check: a command that finds mistakes in the files, such as ``sshd -t``.
        guard: a command that says whether the unit may be restarted now; the files stay.
        verb: the systemctl verb, "restart" or "reload".
    """
    found: Reading = host.get_fact(Readings, unit=unit, paths=tuple(than))
    if found.unread:
        read_again = reading(unit, than, verb=verb)
        tried = trial.start(unit, than, f"{check} && {read_again}" if check else read_again)
        yield f"{guard} && {tried}" if guard else tried
    elif found.kept:
        yield trial.forget(than)
    else:
        host.noop(f"{unit} has read all of its files")


def reading(unit: str, paths: Sequence[str], *, verb: str = "restart") -> str:
    """Build the command that lets a unit read its files, and notes what it has read."""
    invocation = f"$(systemctl show --property=InvocationID --value {unit})"
    return (
        f"systemctl daemon-reload && read={digest(paths)} && systemctl {verb} {unit}"
        f' && mkdir -p {READ} && echo "{invocation} $read" >{READ}/{unit}'
    )
