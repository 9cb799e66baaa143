"""One shell on the machine that stays open and answers commands that only read."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from paramiko import SSHException

from deploy.connector import framing
from deploy.connector.answers import Answer

#: Bytes of one read.
CHUNK = 1 << 16
#: Seconds without a byte after which the shell is given up.
SILENCE_S = 30.0
#: Seconds for all answers to one question, however much is printed meanwhile.
ANSWER_S = 120.0


class Line(Protocol):
    """A connection to a program: a channel of paramiko's, or a session of OpenSSH's client."""

    def settimeout(self, seconds: float, /) -> None:
        """Limit the silence before each answer."""

    def exec_command(self, command: str, /) -> None:
        """Start the program."""

    def sendall(self, data: bytes, /) -> None:
        """Send bytes."""

    def recv(self, size: int, /) -> bytes:
        """Return what comes next; nothing at the end."""
        ...

    def close(self) -> None:
        """End the program."""


class Shell:
    """Asks a shell through a channel of an SSH connection; opened at the first question.

    What goes wrong with it only costs time: a command without an answer is run pyinfra's own way,
    which also tells what was wrong. A shell that was lost is not tried again.

    Args:
        channel: opens a channel.
        start: the command that becomes the shell, such as ``sudo -n sh``.
    """

    def __init__(self, channel: Callable[[], Line], start: str) -> None:
        self._open, self._start = channel, start
        self._channel: Line | None = None
        self._busy = False
        self.lost = False

    def ask(self, commands: Sequence[str]) -> list[Answer]:
        """Return the outputs of commands, which run one after the other with an empty input."""
        nothing: list[Answer] = [None] * len(commands)
        if self.lost or self._busy:  # another task of this host is asking
            return nothing
        self._busy = True
        try:
            return self._ask(commands)
        except (SSHException, OSError, EOFError, ValueError):
            self.lost = True
            self.close()
            return nothing
        finally:
            self._busy = False

    def _ask(self, commands: Sequence[str]) -> list[Answer]:
        if not self._channel:
            self._channel = self._open()
            self._channel.settimeout(SILENCE_S)
            self._channel.exec_command(self._start)
            self._channel.sendall((framing.LOCALE + framing.PATH).encode())
        mark = framing.new_mark()
        lines = "".join(framing.frame(command, mark) for command in commands)
        self._channel.sendall(lines.encode())
        answers = framing.split(received(self._channel, mark, len(commands)), mark)
        if len(answers) != len(commands):
            raise ValueError("an answer is missing")
        return [text(output) if code == 0 else None for output, code in answers]

    def close(self) -> None:
        """End the shell; the next question opens another."""
        channel, self._channel = self._channel, None
        if channel:
            channel.close()


def received(channel: Line, mark: str, count: int) -> bytes:
    """Read up to the last mark.

    Raises:
        EOFError: the shell ended before.
        TimeoutError: it was silent for too long, or took too long.
    """
    read, deadline = bytearray(), time.monotonic() + ANSWER_S
    while not framing.is_whole(read, mark, count):
        if time.monotonic() > deadline:
            raise TimeoutError
        chunk = channel.recv(CHUNK)
        if not chunk:
            raise EOFError
        read += chunk
    return bytes(read)


def text(answer: bytes) -> Answer:
    """Return an answer as text; None when it is not text, which pyinfra itself shall tell."""
    try:
        return answer.decode()
    except UnicodeDecodeError:
        return None
