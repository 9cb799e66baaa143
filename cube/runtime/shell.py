"""A shell that stays open: each command goes in as text and comes back whole.

A command of its own over SSH costs a client here, and there a channel, a login shell and sudo:
up to half a second on a guest without KVM. In a shell that is open already it costs one fork.
"""

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cube.runtime import run
from cube.runtime.errors import CommandError
from deploy.connector import framing

#: Bytes of one read.
CHUNK = 1 << 16
#: Seconds that a shell has to end by itself.
END_S = 2.0
#: Seconds for one command: an apt that waits for a lock takes minutes.
ANSWER_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command left behind; `lost` when the shell ended instead of answering.

    The exit code and the outputs are then those of the program that ran the shell.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    lost: bool = False


class Shell:
    """A POSIX shell that reads commands from its standard input; not for several threads.

    Args:
        argv: starts it, such as ``ssh HOST sudo /bin/sh``; at the first command, and anew at
            the next one when it is gone.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = list(argv)
        self._process: subprocess.Popen[bytes] | None = None
        self.answered = False  #: whether any command has come back

    def run(self, command: str, *, timeout_s: float = ANSWER_S) -> Answer:
        """Run a command to its end, with an empty standard input.

        Args:
            command: for ``/bin/sh -c``.
            timeout_s: seconds until it must have ended.

        Raises:
            CommandError: the program that starts the shell is missing, or the command took too
                long.
        """
        lines = "" if self._process else framing.LOCALE
        process = self._process = self._process or run.converse(self.argv)
        mark = framing.new_mark()
        # A shell of its own runs it: neither its exit nor its mistakes in syntax reach ours.
        lines += framing.script(command, mark)
        deadline = time.monotonic() + timeout_s
        try:
            with contextlib.suppress(BrokenPipeError):  # it is gone: its streams say why
                assert process.stdin is not None
                process.stdin.write(lines.encode())
            out, err = collect(process, mark, deadline)
            if time.monotonic() > deadline:
                raise CommandError(f"{command}: no end after {timeout_s:.0f} s")
            if not (framing.is_whole(out, mark) and framing.is_whole(err, mark)):
                return self._lost(out, err)
        except BaseException:
            self.close()  # a time limit or Ctrl-C: what is left of the answer is nobody's
            raise
        self.answered = True
        ((stdout, code),) = framing.split(out, mark)
        return Answer(returncode=code, stdout=stdout, stderr=framing.between(err, mark))

    def _lost(self, out: bytes, err: bytes) -> Answer:
        process = self._process
        assert process is not None
        self.close()
        return Answer(returncode=process.returncode, stdout=out, stderr=err, lost=True)

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


def collect(
    process: "subprocess.Popen[bytes]", mark: str, deadline: float
) -> tuple[bytes, bytes]:
    """Read both outputs up to their marks, to their ends, or to a time of the monotonic clock."""
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
                if not chunk or framing.is_whole(read[key.fd], mark):
                    waiting.unregister(key.fd)
    return bytes(read[out]), bytes(read[err])
