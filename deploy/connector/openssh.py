"""Commands and files of pyinfra through OpenSSH's client: every way in that a person has.

Each command is a session of the one connection that the client keeps open; where root asks for a
password, the session begins with that conversation (`entry`).
"""

import atexit
import base64
import contextlib
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import gevent.subprocess
from pyinfra.connectors.util import CommandOutput, OutputLine, read_output_buffers

from deploy.connector import entry, framing
from deploy.connector.entry import RefusedError, Rights

#: What the client ends with when it failed itself. Source: ssh(1), EXIT STATUS.
FAILED = 255
#: Seconds that a session has to end by itself.
END_S = 2.0
#: Seconds for the first answer of a connection.
CONNECT_S = 60.0
#: Seconds that a connection stays open that nobody closes.
PERSIST_S = 60
USER = Rights()
#: A session ends with pyinfra, also one whose command hangs on the host. The connection that it
#: opened, which the client leaves in the background, is a child's and stays.
#: Source: prctl(2), PR_SET_PDEATHSIG, as set by setpriv(1) of util-linux
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


def rights_of(data: dict[str, Any]) -> Rights:
    """Read how root's shell opens, as inventory.py describes it."""
    secret = Path(data["secret"]) if data["secret"] else None
    return Rights(become=data["become"], terminal=data["terminal"], secret=secret)


def anew(argv: Sequence[str]) -> list[str]:
    """Return the client's command for a login of its own: no connection that is open is used.

    Source: ssh_config(5): the first value of an option counts; ControlPath, "none".
    """
    return [argv[0], "-o", "ControlPath=none", *argv[1:]]


@dataclass(kw_only=True)
class OpenSsh:
    """A host behind OpenSSH's client.

    Args:
        argv: the client's command up to the destination.
        rights: how root's shell opens.
    """

    argv: Sequence[str]
    rights: Rights
    _folder: Path | None = field(default=None, repr=False)

    def connect(self) -> None:
        """Log in once.

        Raises:
            OSError: the host does not answer, or does not let us in.
        """
        own = "ControlPath=none" in self.argv
        if own:  # plain pyinfra: the connection is this run's own
            self._share()
        try:
            self._prove(root=False)
            if own:  # cube has become root before
                self._prove(root=True)
        except OSError:
            self.close()
            raise

    def _share(self) -> None:
        """Keep one connection open for all commands."""
        # Not TMPDIR, which may be long: the path of a socket is limited.
        self._folder = Path(tempfile.mkdtemp(prefix="cube-ssh-", dir="/tmp"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        own = (
            "ControlMaster=auto",
            f"ControlPath={self._folder}/%C",
            f"ControlPersist={PERSIST_S}",
        )
        options = [word for one in own for word in ("-o", one)]
        self.argv = [self.argv[0], *options, *self.argv[1:]]

    def _prove(self, *, root: bool) -> None:
        """Run a command that does nothing.

        Raises:
            OSError: the shell does not open, or does not answer.
        """
        try:
            code, output = self.run("true", root=root, timeout_s=CONNECT_S)
        except TimeoutError:
            raise OSError(f"the login shell does not answer after {CONNECT_S:.0f} s") from None
        if code:
            raise OSError((output.output_lines or [f"exit code {code}"])[-1])

    def close(self) -> None:
        """Close the connection, if it is this run's own."""
        if self._folder:
            *words, destination = self.argv
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [*words, "-O", "exit", destination],
                    capture_output=True,
                    check=False,
                    timeout=END_S,
                )
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def session(self, *, root: bool) -> Iterator["subprocess.Popen[bytes]"]:
        """Open ``sh``, root's or the user's own; it ends with the block.

        Raises:
            OSError: root's does not open.
        """
        rights = self.rights if root else USER
        pipe = subprocess.PIPE
        # Other hosts' greenlets go on while this one waits for its lines.
        process = gevent.subprocess.Popen(
            [*WITH_PARENT, *self.argv, entry.command(rights)],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )
        try:
            entry.enter(process, rights)
            yield process
        except RefusedError as error:
            raise OSError(f"root's shell does not open: {error}") from error
        except BaseException:
            process.kill()  # a time limit: whoever still reads comes to an end
            raise
        finally:
            end(process)

    def run(
        self,
        line: str,
        *,
        root: bool,
        stdin: str = "",
        timeout_s: float | None = None,
        print_output: bool = False,
        prefix: str = "",
    ) -> tuple[int, CommandOutput]:
        """Run a command line of ``sh``.

        Args:
            line: of one line, or quoted.
            root: whose shell runs it.
            stdin: text for its standard input.
            timeout_s: seconds until it must have ended.
            print_output: print each line, behind a prefix.
            prefix: that prefix.

        Returns:
            Its exit code and output; those of the client when the shell never answered.

        Raises:
            OSError: root's shell does not open, or the connection broke.
            TimeoutError: it did not end in time.
        """
        mark = framing.new_mark()
        if stdin:
            line = f"{{ printf %s {shlex.quote(stdin)} | {line}; }}"
        with self.session(root=root) as process:
            lines = framing.PATH + framing.frame(line, mark, errors=True)
            entry.send(process, lines.encode())
            out, err = Marked(process.stdout, mark), Marked(process.stderr, mark)
            output = read_output_buffers(
                out,
                err,
                timeout=timeout_s,  # type: ignore[arg-type] # gevent takes any number
                print_output=print_output,
                print_prefix=prefix,
            )
        if out.code is not None:
            return out.code, output
        if out.begun:
            raise OSError("the connection broke")
        return process.returncode or FAILED, refusal(out, err)

    def put(self, data: IO[bytes], path: str) -> None:
        """Write a file as the user.

        Raises:
            OSError: it cannot be written.
        """
        mark = framing.new_mark()
        with self.session(root=False) as process:
            talk = entry.Dialogue(process, time.monotonic() + entry.ENTER_S)
            # The shell may read ahead: the data follow when it has become cat.
            talk.send(f"{framing.sign(mark, '<')}; exec cat >{shlex.quote(path)}\n")
            try:
                talk.wait(lambda: f"{mark}<".encode() in talk.out)
            except RefusedError as error:
                raise OSError(f"{path}: {error}") from error
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                shutil.copyfileobj(data, process.stdin)
                process.stdin.close()
            said = process.stderr.read() if process.stderr else b""
            if process.wait():
                raise OSError(f"{path}: {said.decode(errors='replace').strip()}")

    def get(self, path: str, target: IO[bytes]) -> None:
        """Read a file as the user.

        Raises:
            OSError: it cannot be read.
        """
        code, output = self.run(f"base64 {shlex.quote(path)}", root=False)
        if code:
            raise OSError(f"{path}: {output.stderr}")
        target.write(base64.b64decode("".join(output.stdout_lines)))


class Marked:
    """The lines of a stream between two marks; `code` is what the last one tells."""

    def __init__(self, stream: IO[bytes] | None, mark: str) -> None:
        assert stream is not None
        self._stream, self._mark = stream, mark
        self.begun = False
        self.code: int | None = None
        self.before: list[str] = []  #: what came before the first mark: no answer

    def __iter__(self) -> Iterator[str]:
        """Yield the lines."""
        begin, end = f"{self._mark}<\n".encode(), f"{self._mark}>".encode()
        for line in self._stream:
            if not self.begun:
                self.begun = line.endswith(begin)
                self.before.append(line.decode(errors="replace").rstrip("\n"))
                continue
            text, found, code = line.partition(end)
            if text or not found:
                yield text.decode(errors="replace")
            if found:
                self.code = int(code) if code.strip() else 0
                return


def refusal(out: Marked, err: Marked) -> CommandOutput:
    """Return what a shell printed that never answered."""
    lines = [OutputLine("stdout", line) for line in out.before]
    return CommandOutput([*lines, *(OutputLine("stderr", line) for line in err.before)])


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a session: at the end of its input the shell goes."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, RuntimeError):  # another greenlet reads it
                stream.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Pipe:
    """A session as `shell.Shell` wants a channel: what it prints as an error is dropped."""

    def __init__(self, client: OpenSsh, *, root: bool) -> None:
        self._client, self._root = client, root
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._limit_s = CONNECT_S

    def settimeout(self, seconds: float) -> None:
        """Limit the silence before each answer."""
        self._limit_s = seconds

    def exec_command(self, _command: str) -> None:
        """Open the shell."""
        self._process = self._stack.enter_context(self._client.session(root=self._root))

    def sendall(self, data: bytes) -> None:
        """Send bytes."""
        assert self._process is not None
        entry.send(self._process, data)

    def recv(self, _size: int) -> bytes:
        """Return what comes next on standard output; nothing at its end.

        Raises:
            TimeoutError: it was silent for too long.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        out, err = self._process.stdout.fileno(), self._process.stderr.fileno()
        streams = [out, err]
        while True:
            found = entry.read_some(streams, self._limit_s)
            if not found:
                raise TimeoutError
            if out in found:
                return found[out]
            if not found[err]:
                streams = [out]

    def close(self) -> None:
        """End the shell."""
        self._stack.close()
