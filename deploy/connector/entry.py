"""How a shell of root's opens on a machine, whatever the login shell of the account is.

The login shell gets a few plain words, which tcsh, fish and others read as sh does. Where sudo or
su asks for a password, or sudo for a terminal, the rest is a conversation: the password goes in
on standard input, once, and only after it was asked for.
"""

import os
import selectors
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.connector import framing

Become = Literal["none", "sudo", "su"]

#: Seconds until root's shell must be open; PAM waits some seconds after a wrong password.
ENTER_S = 45.0
#: Bytes of one read.
CHUNK = 1 << 16
#: What su asks, in the C locale. Source: Linux-PAM, pam_unix.
SU_PROMPT = b"Password: "


class RefusedError(Exception):
    """Root's shell did not open; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Rights:
    """How to become root, or nobody else.

    Args:
        become: by what.
        terminal: sudo wants a terminal (``requiretty``).
        secret: socket of whoever knows the password; None when none is asked for.
    """

    become: Become = "none"
    terminal: bool = False
    secret: Path | None = None

    @property
    def plain(self) -> bool:
        """Whether it takes a few words and no conversation."""
        return not self.terminal and not self.secret and self.become != "su"


def command(rights: Rights) -> str:
    """Return what the login shell is asked to run."""
    sudo = rights.plain and rights.become == "sudo"
    return "exec env LC_ALL=C sudo -n -H sh" if sudo else "exec sh"


def enter(process: "subprocess.Popen[bytes]", rights: Rights) -> None:
    """Become root in the ``sh`` that a process has opened; what it reads next is root's.

    Raises:
        RefusedError: sudo or su refuses, or asks for something else.
    """
    if rights.plain:
        return
    talk = Dialogue(process, time.monotonic() + ENTER_S)
    # A shell may read ahead: each line is sent when the one before has been answered.
    mark = framing.new_mark()
    talk.send(f"{framing.sign(mark, '<')}\n")
    talk.wait(lambda: f"{mark}<".encode() in talk.out)
    password = read_secret(rights.secret) if rights.secret else ""
    prompt, mark = framing.new_mark(), framing.new_mark()
    asked = SU_PROMPT if rights.become == "su" else prompt.encode()
    up = f"{mark}<".encode()
    talk.err.clear()
    talk.send(f"{framing.LOCALE.strip()}; {become_line(rights, prompt, mark)}\n")
    talk.wait(lambda: up in talk.out or asked in talk.err)
    if up in talk.out:
        return
    if not password:
        raise RefusedError("a password is required")
    talk.err.clear()
    talk.send(f"{password}\n")
    talk.wait(lambda: up in talk.out or asked in talk.err)
    if up not in talk.out:
        raise RefusedError("the password is wrong")


def become_line(rights: Rights, prompt: str, mark: str) -> str:
    """Return the line for ``sh`` that becomes root's shell and prints a mark.

    Source: sudo(8), -k, -p, -S; su(1); script(1): sudo opens the terminal of its session, its
    three streams stay those of ssh.
    """
    greeting = f"{framing.sign(mark, '<')}; exec sh"
    shell = f"sh -c {shlex.quote(greeting)}"
    if rights.become == "su":
        inner = f"su root -s /bin/sh -c {shlex.quote(shell)}"
    elif rights.secret:
        inner = f"sudo -k -S -H -p {prompt} {shell}"
    else:
        inner = f"sudo -n -H {shell}"
    if not rights.terminal:
        return f"exec {inner}"
    streams = f"{inner} <&3 >&4 2>&5 3<&- 4>&- 5>&-"
    return (
        f"SHELL=/bin/sh exec script -qec {shlex.quote(streams)} /dev/null"
        " 3<&0 4>&1 5>&2 </dev/null >/dev/null"
    )


class Dialogue:
    """Sends lines to a process and reads both of its outputs, up to a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", deadline: float) -> None:
        self._process, self._deadline = process, deadline
        self.out, self.err = bytearray(), bytearray()

    def send(self, text: str) -> None:
        """Send a text; a process that is gone is noticed by `wait`."""
        send(self._process, text.encode())

    def wait(self, done: Callable[[], bool]) -> None:
        """Read until something has come.

        Raises:
            RefusedError: the process ended before, or nothing came in time.
        """
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        texts = {self._process.stdout.fileno(): self.out, self._process.stderr.fileno(): self.err}
        while not done():
            left_s = self._deadline - time.monotonic()
            chunks = read_some(list(texts), left_s) if left_s > 0 else {}
            for number, chunk in chunks.items():
                texts[number] += chunk
                if not chunk:
                    del texts[number]
            if not done() and not (chunks and texts):
                raise RefusedError(self._reason(timed_out=bool(texts)))

    def _reason(self, *, timed_out: bool) -> str:
        said = (self.err.strip() or self.out.strip()).decode(errors="replace").splitlines()
        if not timed_out:
            return said[-1] if said else "the shell ended at once"
        return f"no answer after {ENTER_S:.0f} s{': ' if said else ''}{''.join(said[-1:])}"


def send(process: "subprocess.Popen[bytes]", data: bytes) -> None:
    """Send bytes to a process; one that is gone says why on its outputs."""
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        process.stdin.flush()
    except BrokenPipeError:
        pass


def read_some(streams: list[int], timeout_s: float) -> dict[int, bytes]:
    """Return what has come on file descriptors; empty bytes at an end, nothing after a time."""
    with selectors.DefaultSelector() as waiting:
        for stream in streams:
            waiting.register(stream, selectors.EVENT_READ)
        return {key.fd: os.read(key.fd, CHUNK) for key, _ in waiting.select(timeout_s)}


def read_secret(path: Path) -> str:
    """Ask for the password on a socket that only this user can reach.

    Raises:
        RefusedError: nobody answers there any more.
    """
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ENTER_S)
            line.connect(str(path))
            with line.makefile("rb") as stream:
                return stream.read().decode()
    except OSError as error:
        raise RefusedError(f"a password is required, and is not known any more ({error})") from None
