"""Work on many hosts side by side: none waits for another, and none fails with another."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from cube.runtime import log
from cube.runtime.errors import CubeError, HostError
from cube.runtime.log import Event
from cube.runtime.progress import LogFile, open_log
from cube.runtime.units import duration

T = TypeVar("T")
State = Literal["done", "failed", "interrupted", "not started"]

#: Seconds for threads to notice that they must stop; then the process ends without them.
STOP_S = 10.0


class StoppedError(BaseException):
    """Ends a thread at its next event, after Ctrl-C. No `except Exception` catches it."""


@dataclass(frozen=True, kw_only=True)
class Result(Generic[T]):
    """The result of a host: `failed` has an `error`, `done` the `value` that the work returned."""

    name: str
    state: State
    seconds: float = 0.0
    value: T | None = None
    error: CubeError | None = None


class FanOut(Generic[T]):
    """Threads that work on hosts.

    Args:
        hosts: the argument of the work for each host, by its name.
        work: done for each; a `CubeError` or an `OSError` fails that host alone.
        jobs: hosts at once.
        log_of: the log file of a host, by its name.
        on_stop: ends what the threads wait for, on Ctrl-C.
    """

    def __init__(
        self,
        hosts: Mapping[str, str],
        work: Callable[[str], T],
        *,
        jobs: int,
        log_of: Callable[[str], Path],
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._hosts = hosts
        self._work = work
        self._jobs = jobs
        self._log_of = log_of
        self._on_stop = on_stop
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Result[T] | Exception] = queue.SimpleQueue()
        self._started: dict[str, float] = {}
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._results: dict[str, Result[T]] = {}

    def run(self) -> list[Result[T]]:
        """Work until every host has ended, and log each that does.

        Returns:
            A result for each host, in the order in which they were given. After Ctrl-C, which
            goes on to the caller, `results` has them.
        """
        for name in self._hosts:
            self._waiting.put(name)
        for number in range(min(self._jobs, len(self._hosts))):
            # Daemons: after Ctrl-C, the process does not wait for one that waits for its host.
            thread = threading.Thread(target=self._take, name=f"host-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        try:
            while len(self._results) < len(self._hosts):
                self._note(self._ended.get())
        except BaseException:
            self._stop()
            raise
        return self.results()

    def results(self) -> list[Result[T]]:
        """Return a result for each host, also for those that were not finished."""
        return [self._results.get(name) or self._unfinished(name) for name in self._hosts]

    def _unfinished(self, name: str) -> Result[T]:
        if name not in self._started:
            return Result(name=name, state="not started")
        seconds = time.monotonic() - self._started[name]
        return Result(name=name, state="interrupted", seconds=seconds)

    def _note(self, result: Result[T] | Exception) -> None:
        if isinstance(result, Exception):
            raise result
        self._results[result.name] = result
        count = f"{len(self._results)} of {len(self._hosts)}"
        text = f"{result.name}: {result.state} after {duration(result.seconds)} ({count})"
        if result.error:
            log.warning(f"{text}: {result.error.message}", host=result.name, ended=True)
        else:
            log.info(text, host=result.name, ended=True)

    def _take(self) -> None:
        """Work on one host after the other."""
        with contextlib.suppress(queue.Empty, StoppedError):
            while not self._stopped.is_set():
                name = self._waiting.get_nowait()
                try:
                    self._ended.put(self._attempt(name))
                except Exception as error:  # a mistake of ours: the main thread raises it
                    self._ended.put(error)

    def _attempt(self, name: str) -> Result[T]:
        started = self._started[name] = time.monotonic()
        value, error = None, None
        try:
            with open_log(self._log_of(name)) as stream:
                teller = HostLog(name, LogFile(stream), self._stopped)
                with log.apart(teller):
                    value, error = self._outcome(name)
                if error:
                    write_failure(stream.write, error)
        except OSError as problem:  # only the log of this host
            value, error = None, HostError(f"{problem.filename or name}: {problem.strerror}")
        return Result(
            name=name,
            state="failed" if error else "done",
            seconds=time.monotonic() - started,
            value=value,
            error=error,
        )

    def _outcome(self, name: str) -> tuple[T | None, CubeError | None]:
        try:
            return self._work(self._hosts[name]), None
        except CubeError as error:
            return None, error
        except OSError as error:
            return None, HostError(f"{error.filename or name}: {error.strerror or error}")

    def _stop(self) -> None:
        """Have every thread end: at its next event, or when what it waits for was ended."""
        self._stopped.set()
        self._on_stop()
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def write_failure(write: Callable[[str], Any], error: CubeError) -> None:
    """Write why a host failed at the end of its log."""
    parts = [f"error: {error.message}", error.details, error.hint and f"what to do: {error.hint}"]
    with contextlib.suppress(OSError):  # a full disk: the summary has the reason, too
        write("".join(f"{part}\n" for part in parts if part))


class HostLog:
    """Writes all events of a host to its log, and passes on those that everybody sees."""

    def __init__(self, name: str, file: LogFile, stopped: threading.Event) -> None:
        self._name = name
        self._file = file
        self._stopped = stopped

    def __call__(self, event: Event) -> None:
        """Take one event.

        Raises:
            StoppedError: the work must end.
        """
        if self._stopped.is_set():
            raise StoppedError
        self._file(event)
        kind = "status" if event.kind == "step" else event.kind
        if kind in {"status", "operation", "info", "warning"}:
            data = {**event.data, "host": self._name}
            text = f"{self._name}: {event.text}"
            log.tell(replace(event, kind=kind, text=text, depth=0, data=data))
