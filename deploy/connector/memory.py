"""What earlier runs have asked a machine, so that the next asks it at once.

Commands only, never answers: a list that is old or damaged costs time, and nothing else.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: A longer list is not kept; layers 1 and 5 ask fewer than 100 commands.
MOST = 1000
#: Characters of all commands: half of what OpenSSH takes in without waiting for the shell.
#: Source: OpenSSH channels.h, CHAN_SES_WINDOW_DEFAULT
LONGEST = 1 << 20


def folder() -> Path:
    """Return where lists are kept. Source: XDG Base Directory Specification 0.8."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "vault-cube" / "questions"


def file(host: str, run: Sequence[str], shell: str) -> Path:
    """Return the file for a host, what is run on it (flags do not matter) and the shell."""
    named = json.dumps([host, shell, *(word for word in run if not word.startswith("-"))])
    return folder() / f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.json"


def load(path: Path) -> list[str]:
    """Return the commands; none when there is no list, or one that others could have written.

    They are run as root on the host: what may write the list must not be anybody else.
    """
    try:
        if not is_own(path.parent) or not is_own(path):
            return []
        commands = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(commands, list) or not all(isinstance(one, str) for one in commands):
        return []
    return commands


def is_own(path: Path) -> bool:
    """Tell whether nobody but this user, and root, can write to a path.

    Raises:
        OSError: it is not there.
    """
    state = path.lstat()
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022


def save(path: Path, commands: Sequence[str]) -> None:
    """Keep a list, readable for its owner only; one that cannot be written is done without."""
    commands = list(commands)
    if len(commands) > MOST or sum(map(len, commands)) > LONGEST:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "w") as stream:
                json.dump(commands, stream)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink()
