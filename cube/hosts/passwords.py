"""Passwords for sudo and su: asked once at the terminal, kept in this process's memory only.

pyinfra and the checks are processes of their own. They ask for the password on a socket in a
folder of this user's; it is in no argument, variable, file or log.
"""

import atexit
import getpass
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path

from cube.runtime import log
from cube.runtime.errors import MachineError

_mutex = threading.Lock()
#: The socket of each password, by the question.
_asked: dict[str, Path] = {}


def private_folder() -> Path:
    """Make a folder for sockets that only this user can enter; it goes with the process."""
    # Not TMPDIR, which may be long: the path of a socket has at most 107 bytes. Source: unix(7).
    folder = Path(tempfile.mkdtemp(prefix="cube-ssh-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def ask(question: str, why: MachineError) -> Path:
    """Ask for a password, once for all hosts of a run; return the socket that hands it out.

    Raises:
        MachineError: there is no terminal to ask at.
    """
    with _mutex:
        if question not in _asked:
            if not sys.stdin.isatty():
                raise why
            log.info(why.message)
            _asked[question] = serve(getpass.getpass(f"{question}: "))
        return _asked[question]


def serve(password: str) -> Path:
    """Hand a password out to whoever connects to a socket while this process lives."""
    path = private_folder() / "secret"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(64)
    threading.Thread(target=_hand_out, args=(server, password), daemon=True).start()
    return path


def _hand_out(server: socket.socket, password: str) -> None:
    while True:
        line, _ = server.accept()
        with line:
            try:
                line.sendall(password.encode())
            except OSError:
                log.debug("whoever asked for a password went away")
