"""Files that something reads at its start: replaced, tried, and put back when the start fails.

`deploy.operations.files.put_atomic` keeps the version before a new one, where its reader is there;
what starts the reader (`systemd.restart_if_older`, `systemd.units`) drops it, or puts it back.
Who is interrupted between the two leaves the kept version to the next run, which tries again.
"""

import shlex
from collections.abc import Sequence

from deploy.facts.files import KEPT

#: Lines of the journal that a failure shows.
LINES = 15
#: Seconds that a daemon which says of itself when it is ready needs not: a plain one may end yet.
#: Source: systemd.service(5), Type=.
SETTLE_S = 2


def keep(reader: str) -> str:
    """Return the part of `files.put_script` that keeps what is at ``$dest``.

    A version that no start has tried is not kept: the one before it is.

    Args:
        reader: a command that succeeds where there is something that reads the file; "" where
            there always is.
    """
    unread = f"! {reader} >/dev/null 2>&1 || " if reader else ""
    return (
        f'{{ {unread}{{ kept="{KEPT}$dest" && mkdir -p -m 700 {KEPT}'
        ' && mkdir -p "${kept%/*}" && { [ -e "$kept" ] || [ -e "$kept.none" ]'
        ' || if [ -e "$dest" ]; then cp -p "$dest" "$kept.new" && mv "$kept.new" "$kept";'
        ' else : > "$kept.none"; fi; }; }; }'
    )


def read_by_unit(unit: str) -> str:
    """Return a command that succeeds where a unit is installed."""
    return f"systemctl cat {shlex.quote(unit)}"


def forget(files: Sequence[str]) -> str:
    """Return the command that drops what was kept: its successor has been tried."""
    return f'{_each(files)} rm -f "$kept" "$kept.none"; done'


def put_back(files: Sequence[str]) -> str:
    """Return the command that puts back what was kept; it fails where nothing was."""
    return (
        f'back=""; {_each(files)}'
        ' if [ -e "$kept" ]; then cp -p "$kept" "$dest.before" && mv -f "$dest.before" "$dest"'
        ' && rm "$kept"; back="$back $dest";'
        ' elif [ -e "$kept.none" ]; then rm -f "$dest" "$kept.none"; back="$back $dest"; fi; done;'
        ' [ -n "$back" ]'
    )


def attempt(command: str, files: Sequence[str]) -> str:
    """Return a command that tries files by another one; if that fails, what was kept comes back.

    Args:
        command: fails where the files are no good.
        files: absolute paths.
    """
    return (
        f"if {command}; then {forget(files)}; else"
        f" if {put_back(files)}; then"
        ' echo "put back as before:$back" >&2; fi; false; fi'
    )


def start(unit: str, files: Sequence[str], command: str) -> str:
    """Return a command that has a unit start with files; if it fails, it starts as before.

    Args:
        unit: its name, with suffix.
        files: those that it reads.
        command: starts it, or has it read its files again.
    """
    journal = f"journalctl --unit {unit} --lines {LINES} --output cat --no-pager >&2"
    again = f"systemctl daemon-reload; systemctl reset-failed {unit} 2>/dev/null"
    return (
        f"if {command} && {{ {stays(unit)}; }};"
        f" then {forget(files)}; else"
        f' echo "{unit} fails with its files as they are now, its last lines:" >&2; {journal};'
        f" if {put_back(files)}; then {again};"
        f' if systemctl restart {unit}; then echo "put back as before:$back; {unit} runs" >&2;'
        f' else echo "put back as before:$back; {unit} does not start with that either" >&2; fi;'
        " fi; false; fi"
    )


def stays(unit: str) -> str:
    """Return a command that fails when a unit has ended soon after its start.

    A reload leaves systemd no time to see an end, either; a oneshot may end.
    """
    return (
        f"case $(systemctl show --property=Type --value {unit}) in"
        f" simple|exec|idle|forking) sleep {SETTLE_S}; systemctl is-active --quiet {unit};; esac"
    )


def _each(files: Sequence[str]) -> str:
    return (
        f'for file in {shlex.join(files)}; do dest=$(readlink -f "$file") || continue;'
        f' kept="{KEPT}$dest";'
    )
