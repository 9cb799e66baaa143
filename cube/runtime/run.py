"""The only place that starts programs: argv lists, logged, checked, with a time limit."""

import contextlib
import os
import queue
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cube.runtime import log
from cube.runtime.errors import CommandError
from cube.runtime.lifetime import with_parent

#: Lines of a failed program's output that go into the error.
TAIL_LINES = 20
#: Time between a polite and a final signal.
GRACE_S = 10.0

#: Seconds between two looks at a running program.
TICK_S = 0.2


Argv = Sequence[str | Path]


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a program that has ended left behind."""

    returncode: int
    stdout: str
    stderr: str


def quote(argv: Argv) -> str:
    """Return the command as it could be pasted into a shell."""
    return shlex.join(str(part) for part in argv)


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a text."""
    return "\n".join(text.strip().splitlines()[-lines:])


def environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """Return this process's environment with ours on top; outputs are in plain English.

    LANGUAGE would go before a locale of C.UTF-8. Source: GNU gettext manual, "LANGUAGE variable".
    """
    kept = {name: value for name, value in os.environ.items() if name != "LANGUAGE"}
    return {**kept, "LC_ALL": "C.UTF-8", **(extra or {})}


def missing_tool(program: str) -> CommandError:
    """Build the error for a program that is not installed."""
    return CommandError(
        f"{program}: program not found", hint="run 'cube doctor': it says what to install"
    )


def run(
    argv: Argv,
    *,
    accept: Collection[int] = (0,),
    timeout_s: float = 300,
    stdin: str = "",
    stdin_file: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end.

    Args:
        argv: program and arguments; no shell is involved. Never put a secret here.
        accept: exit codes that are not failures.
        timeout_s: seconds after which the program is killed.
        stdin: text for its standard input.
        stdin_file: file that it reads byte by byte instead.
        env: variables added to the environment.
        cwd: its working folder.

    Returns:
        Exit code and both outputs as text.

    Raises:
        CommandError: the program is missing, took too long or ended with another code.
    """
    words = [str(part) for part in argv]
    log.debug(f"$ {quote(argv)}")
    started = time.monotonic()
    try:
        with stdin_file.open("rb") if stdin_file else contextlib.nullcontext() as file:
            done = subprocess.run(
                words,
                **({"stdin": file} if file else {"input": stdin}),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout_s,
                env=environment(env),
                cwd=cwd,
            )
    except FileNotFoundError as error:
        raise missing_tool(words[0]) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{quote(argv)}: did not end within {timeout_s:.0f} s") from error
    log.debug(f"  exit {done.returncode} after {time.monotonic() - started:.1f} s")
    if done.returncode not in accept:
        output = tail(done.stdout + done.stderr)
        log.debug(output)
        raise CommandError(
            f"{quote(argv)}: exit code {done.returncode}",
            returncode=done.returncode,
            output=output,
        )
    return Completed(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


class Process:
    """A running program in a process group of its own, dying with us.

    Its output goes line by line to a callback. Make one with `spawn`.
    """

    def __init__(self, popen: subprocess.Popen[str], command: str) -> None:
        self._popen = popen
        self.command = command
        self.pid = popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._popen.poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for the end.

        Raises:
            CommandError: it still runs after `timeout_s` seconds.
        """
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{self.command}: did not end within {timeout_s:.0f} s") from error

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, if any of it is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def stop(self, *, first: signal.Signals = signal.SIGTERM, grace_s: float = GRACE_S) -> None:
        """End the whole group: politely, then, after `grace_s` seconds, for certain."""
        if self.returncode is None:
            self.send(first)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_s)
        self.send(signal.SIGKILL)
        self._popen.wait()


#: What `launch` started, kept so that each is reaped.
_launched: list[Process] = []


def launch(argv: Argv, *, output: Path, tethered: bool = False) -> Process:
    """Start a program in the background, its output at the end of a file; the caller stops it.

    Args:
        argv: program and arguments.
        output: file that stdout and stderr are added to.
        tethered: its standard input is a pipe that ends when this process does, in whatever
            way; a program that reads it can follow. Otherwise it is empty.

    Raises:
        CommandError: the program is missing.
    """
    log.debug(f"$ {quote(argv)} >> {shlex.quote(str(output))} &")
    words = [str(part) for part in argv]
    try:
        with output.open("ab") as file:
            popen = subprocess.Popen(
                words,
                stdin=subprocess.PIPE if tethered else subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment(None),
                start_new_session=True,
            )
    except FileNotFoundError as error:
        raise missing_tool(words[0]) from error
    process = Process(popen, quote(argv))
    _launched.append(process)
    return process


def converse(
    argv: Argv,
    *,
    errors: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that the caller talks to over its streams, and stops.

    Args:
        argv: program and arguments.
        errors: file that standard error is added to; None makes that a stream, too.
        env: variables added to the environment.
        cwd: its working folder.

    Raises:
        CommandError: the program is missing.
    """
    log.debug(f"$ {quote(argv)} <>")
    try:
        with errors.open("ab") if errors else contextlib.nullcontext(subprocess.PIPE) as stderr:
            return subprocess.Popen(
                with_parent(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                env=environment(env),
                cwd=cwd,
                start_new_session=True,
            )
    except FileNotFoundError as error:
        raise missing_tool(str(error.filename)) from error


@contextlib.contextmanager
def spawn(
    argv: Argv,
    *,
    on_line: Callable[[str], None] = log.debug,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stop_with: signal.Signals = signal.SIGTERM,
    grace_s: float = GRACE_S,
) -> Iterator[Process]:
    """Start a program, feed its output lines to `on_line`, and end it on the way out.

    Args:
        argv: program and arguments.
        on_line: called from a thread of its own with each line of stdout and stderr.
        env: variables added to the environment.
        cwd: its working folder.
        stop_with: the polite signal when the block is left while it runs.
        grace_s: seconds between that signal and SIGKILL.

    Yields:
        The running process.

    Raises:
        CommandError: the program is missing.
    """
    log.debug(f"$ {quote(argv)} &")
    try:
        popen = subprocess.Popen(
            with_parent(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment(env),
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise missing_tool(str(error.filename)) from error
    process = Process(popen, quote(argv))
    reader = threading.Thread(target=_feed, args=(popen, on_line), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        process.stop(first=stop_with, grace_s=grace_s)
        reader.join(GRACE_S)


def _feed(popen: subprocess.Popen[str], on_line: Callable[[str], None]) -> None:
    assert popen.stdout is not None
    with popen.stdout as lines:
        for line in lines:
            on_line(line.rstrip("\n"))


def stream(
    argv: Argv,
    *,
    on_line: Callable[[str], None],
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stop_with: signal.Signals = signal.SIGTERM,
    on_tick: Callable[[], None] = lambda: None,
) -> int:
    """Run a program to its end while its output is read line by line in this thread.

    Args:
        argv: program and arguments.
        on_line: called in the caller's thread with each line of stdout and stderr.
        timeout_s: seconds after which the program's whole group is ended.
        env: variables added to the environment.
        cwd: its working folder.
        stop_with: the polite signal on a time-out, Ctrl-C or an exception in a callback.
        on_tick: called in the caller's thread several times a second while it runs.

    Returns:
        The exit code, whatever it is: the caller knows what it means.

    Raises:
        CommandError: the program is missing or took too long.
    """
    job = Job(argv=argv, on_line=on_line, env=env, cwd=cwd)
    return stream_all([job], timeout_s=timeout_s, stop_with=stop_with, on_tick=on_tick)[0]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A program of several that run side by side; the fields are those of `stream`."""

    argv: Argv
    on_line: Callable[[str], None]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None


def stream_all(
    jobs: Sequence[Job],
    *,
    timeout_s: float,
    stop_with: signal.Signals = signal.SIGTERM,
    on_tick: Callable[[], None] = lambda: None,
    on_end: Callable[[int], None] = lambda _: None,
) -> list[int]:
    """Run programs side by side to their ends; their lines are read in this thread.

    Args:
        jobs: what runs.
        timeout_s: seconds after which those that still run are ended.
        stop_with: the polite signal on a time-out, Ctrl-C or an exception in a callback.
        on_tick: called in the caller's thread several times a second.
        on_end: called in the caller's thread with the place of each job that has ended.

    Returns:
        The exit codes, in the order of the jobs.

    Raises:
        CommandError: a program is missing or took too long; none of them runs any more.
    """
    deadline = time.monotonic() + timeout_s
    queues: list[queue.SimpleQueue[str]] = [queue.SimpleQueue() for _ in jobs]
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                spawn(job.argv, on_line=lines.put, env=job.env, cwd=job.cwd, stop_with=stop_with)
            )
            for job, lines in zip(jobs, queues, strict=True)
        ]
        ended: set[int] = set()
        while unfinished := [one for one in running if one.returncode is None]:
            for job, lines in zip(jobs, queues, strict=True):
                _drain(lines, job.on_line, wait_s=TICK_S / len(jobs))
            on_tick()
            done = {place for place, one in enumerate(running) if one.returncode is not None}
            for place in sorted(done - ended):
                on_end(place)
            ended |= done
            if time.monotonic() > deadline:
                raise CommandError(f"{unfinished[0].command}: did not end within {timeout_s:.0f} s")
    for job, lines in zip(jobs, queues, strict=True):
        _drain(lines, job.on_line, wait_s=0)
    return [one.wait(0) for one in running]


def _drain(
    lines: "queue.SimpleQueue[str]", on_line: Callable[[str], None], *, wait_s: float
) -> None:
    with contextlib.suppress(queue.Empty):
        if wait_s:
            on_line(lines.get(timeout=wait_s))
        while True:
            on_line(lines.get_nowait())
