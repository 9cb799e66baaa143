"""A shell that stays open: each command goes in as text and comes back whole.

A command of its own over SSH costs a client here, and there a channel, a login shell and sudo:
up to half a second on a guest without KVM. In a shell that is open already it costs one fork.
"""

import contextlib
import os
import secrets
import selectors
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from cube.runtime import run

#: Bytes of one read.
CHUNK = 1 << 16
#: Seconds that a shell has to end by itself.
END_S = 2.0


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

    def run(self, command: str) -> Answer:
        """Run a command to its end, with an empty standard input.

        Raises:
            CommandError: the program that starts the shell is missing.
        """
        process = self._process = self._process or run.converse(self.argv)
        token = secrets.token_hex(16).encode()
        try:
            with contextlib.suppress(BrokenPipeError):  # it is gone: its streams say why
                assert process.stdin is not None
                process.stdin.write(frame(command, token))
            out, err = collect(process, token)
            if not (is_whole(out, token) and is_whole(err, token)):
                return self._lost(out, err)
        except BaseException:
            self.close()  # a time limit or Ctrl-C: what is left of the answer is nobody's
            raise
        self.answered = True
        stdout, _, code = out.rpartition(token)
        return Answer(returncode=int(code), stdout=stdout, stderr=err.rpartition(token)[0])

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


def frame(command: str, token: bytes) -> bytes:
    """Return the lines that make a shell run a command, and mark where each output ends.

    A shell of its own runs it: neither its ``exit`` nor its mistakes in syntax reach ours.
    """
    mark = token.decode()
    return (
        f"/bin/sh -c {shlex.quote(command)} </dev/null\n"
        f"printf '{mark}%s\\n' $?; printf '{mark}\\n' >&2\n"
    ).encode()


def collect(process: "subprocess.Popen[bytes]", token: bytes) -> tuple[bytes, bytes]:
    """Read both outputs up to their marks, or to their ends."""
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.fileno(), process.stderr.fileno()
    read = {out: bytearray(), err: bytearray()}
    with selectors.DefaultSelector() as waiting:
        for stream in read:
            waiting.register(stream, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                chunk = os.read(key.fd, CHUNK)
                read[key.fd] += chunk
                if not chunk or is_whole(read[key.fd], token):
                    waiting.unregister(key.fd)
    return bytes(read[out]), bytes(read[err])


def is_whole(output: bytes | bytearray, token: bytes) -> bool:
    """Tell whether an output ends with a mark's line."""
    _, found, rest = output.rpartition(token)
    return bool(found) and rest.endswith(b"\n")
