"""Programs that end with their owner: all ways in which that is done.

- `with_parent`: the kernel kills the program when the thread that started it ends.
- `with_descendants`: the kernel kills all that the program has started when it ends.
- `after_owner`: a pipe that the owner holds ends with it, in whatever way; what reads the pipe
  then acts. It also serves a daemon that is nobody's child. See `run.launch`, `tethered`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

#: Reads the owner's pipe to its end.
UNTIL_OWNER_ENDS = "cat"


def with_parent(argv: Sequence[str | Path]) -> list[str]:
    """Return the command wrapped so that the kernel kills it when its parent ends.

    Source: prctl(2), PR_SET_PDEATHSIG, as set by setpriv(1) of util-linux.
    """
    return ["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)]


def with_descendants(argv: Sequence[str | Path], *namespaces: str) -> list[str]:
    """Return the command wrapped so that its children and grandchildren end with it.

    It runs as the first process of a PID namespace, which the kernel clears when that process
    ends. Only root may make one; without root the command is returned as it is.

    Args:
        argv: program and arguments.
        namespaces: further ones of its own, as options of unshare(1).

    Source: pid_namespaces(7), "The namespace init process"; unshare(1), --kill-child.
    """
    words = [str(part) for part in argv]
    if os.geteuid() != 0 and not namespaces:
        return words
    own = [*namespaces, "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    return ["unshare", *own, "--", *words]


def after_owner(action: str, *arguments: str) -> list[str]:
    """Return the command that runs a shell's action once its standard input ends.

    Args:
        action: for ``sh -c``.
        arguments: of the action: ``$1`` and so on.
    """
    return ["sh", "-c", f"{UNTIL_OWNER_ENDS} >/dev/null; {action}", "sh", *arguments]
