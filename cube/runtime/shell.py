"""A shell that stays open: each command goes in as text and comes back whole.

A command of its own over SSH costs a client here, and there a channel, a login shell and sudo:
up to half a second on a guest without KVM. In a shell that is open already it costs one fork.
"""

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cube.runtime import run
from cube.runtime.errors import CommandError
from deploy.connector import entry, framing
from deploy.connector.entry import RefusedError, Rights

#: Of a shell that stays its user's.
NOBODY = Rights()
#: Bytes of one read.
CHUNK = 1 << 16
#: Seconds that a shell has to end by itself.
END_S = 2.0
#: Seconds for one command: an apt that waits for a lock takes minutes.
ANSWER_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command left behind; `lost` when the shell ended instead of answering.

    The exit code and the outputs are then those of the program that ran the shell; `begun` says
    whether the command had begun.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    lost: bool = False
    begun: bool = True


class Shell:
    """A POSIX shell that reads commands from its standard input; not for several threads.

    Args:
        argv: starts it, such as ``ssh HOST sudo /bin/sh``; at the first command, and anew at
            the next one when it is gone.
        rights: how that shell becomes root's.
        setup: lines for it, before the first command.
    """

    def __init__(self, argv: Sequence[str], *, rights: Rights = NOBODY, setup: str = "") -> None:
        self.argv = list(argv)
        self._rights, self._setup = rights, setup
        self._process: subprocess.Popen[bytes] | None = None
        self.answered = False  #: whether any command has come back

    def run(
        self,
        command: str,
        *,
        timeout_s: float = ANSWER_S,
        on_line: Callable[[str], None] | None = None,
    ) -> Answer:
        """Run a command to its end, with an empty standard input.

        Args:
            command: for ``/bin/sh -c``.
            timeout_s: seconds until it must have ended.
            on_line: called with each line that it prints, while it runs.

        Raises:
            CommandError: the program that starts the shell is missing, or the command took too
                long.
        """
        deadline = time.monotonic() + timeout_s
        mark = framing.new_mark()
        try:
            lines = self._open()
            process = self._process
            assert process is not None
            # A shell of its own runs it: neither its exit nor its mistakes in syntax reach ours.
            entry.send(process, (lines + framing.script(command, mark)).encode())
            hear = Lines(mark, on_line) if on_line else None
            out, err = collect(process, mark, deadline, hear)
            if time.monotonic() > deadline:
                raise CommandError(f"{shown(command)}: did not end within {timeout_s:.0f} s")
            if not (framing.is_whole(out, mark) and framing.is_whole(err, mark)):
                return self._lost(out, err, begun=f"{mark}<".encode() in out)
        except RefusedError as error:
            return self._lost(b"", str(error).encode(), begun=False)
        except BaseException:
            self.close()  # a time limit or Ctrl-C: what is left of the answer is nobody's
            raise
        self.answered = True
        ((stdout, code),) = framing.split(out, mark)
        return Answer(returncode=code, stdout=stdout, stderr=framing.between(err, mark))

    def _open(self) -> str:
        """Start the shell if there is none, and become root; return the first lines for it."""
        if self._process:
            return ""
        self._process = run.converse(self.argv)
        entry.enter(self._process, self._rights)
        return framing.LOCALE + framing.PATH + self._setup

    def _lost(self, out: bytes, err: bytes, *, begun: bool) -> Answer:
        process = self._process
        assert process is not None
        self.close()
        code = process.returncode
        return Answer(returncode=code, stdout=out, stderr=err, lost=True, begun=begun)

    def close(self) -> None:
        """End the shell, if it is there."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Lines:
    """Passes on the lines between two marks while they come."""

    mark: str
    on_line: Callable[[str], None]
    _rest: bytes = field(default=b"", repr=False)
    _begun: bool = False

    def __call__(self, chunk: bytes) -> None:
        """Take what was read."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            text, end, _ = line.partition(f"{self.mark}>".encode())
            if self._begun and (text or not end):
                self.on_line(text.decode(errors="replace"))
            self._begun = not end and (self._begun or line.endswith(f"{self.mark}<".encode()))


def collect(
    process: "subprocess.Popen[bytes]",
    mark: str,
    deadline: float,
    hear: Callable[[bytes], None] | None = None,
) -> tuple[bytes, bytes]:
    """Read both outputs up to their marks, to their ends, or to a time of the monotonic clock.

    Args:
        process: whose outputs.
        mark: ends each.
        deadline: of the monotonic clock.
        hear: called with what comes on standard output.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.fileno(), process.stderr.fileno()
    read = {out: bytearray(), err: bytearray()}
    with selectors.DefaultSelector() as waiting:
        for stream in read:
            waiting.register(stream, selectors.EVENT_READ)
        while waiting.get_map() and (left_s := deadline - time.monotonic()) > 0:
            for key, _ in waiting.select(left_s):
                chunk = os.read(key.fd, CHUNK)
                read[key.fd] += chunk
                if hear and key.fd == out:
                    hear(chunk)
                if not chunk or framing.is_whole(read[key.fd], mark):
                    waiting.unregister(key.fd)
    return bytes(read[out]), bytes(read[err])


def shown(script: str) -> str:
    """Return the first line of a script that says something, for a message."""
    return next((line for line in script.splitlines() if line.strip()), "")
