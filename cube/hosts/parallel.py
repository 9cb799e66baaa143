"""Work on many boxes side by side: none waits for another, and none fails with another."""

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
from cube.runtime.progress import LogFile, duration, open_log

T = TypeVar("T")
State = Literal["done", "failed", "interrupted", "not started"]

#: Seconds for those who work to notice that they must stop; then the process ends without them.
STOP_S = 10.0


class StoppedError(BaseException):
    """Ends a thread at its next word: somebody pressed Ctrl-C. No `except Exception` keeps it."""


@dataclass(frozen=True, kw_only=True)
class Result(Generic[T]):
    """What became of a box.

    Args:
        name: of the box.
        state: `failed` has an `error`, `done` what the work returned.
        seconds: it took.
        value: what the work returned.
        error: why it failed.
    """

    name: str
    state: State
    seconds: float = 0.0
    value: T | None = None
    error: CubeError | None = None


class Party(Generic[T]):
    """Threads that work on boxes, a bounded number at once.

    Args:
        boxes: the word for each box, by its name.
        work: does it for a word; a failure that a user can meet fails that box alone.
        jobs: boxes at once.
        log_of: the log file of a box, by its name.
        on_stop: ends what the threads wait for, on Ctrl-C.
    """

    def __init__(
        self, boxes: Mapping[str, str], work: Callable[[str], T], *, jobs: int,
        log_of: Callable[[str], Path], on_stop: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._boxes = boxes
        self._work = work
        self._log_of = log_of
        self._on_stop = on_stop
        self._waiting = list(boxes)
        self._ended: queue.SimpleQueue[Result[T] | Exception] = queue.SimpleQueue()
        self._started: dict[str, float] = {}
        self._stopped = threading.Event()
        self.results: dict[str, Result[T]] = {}
        self._threads = [
            threading.Thread(target=self._take, name=f"box-{number}", daemon=True)
            for number in range(min(jobs, len(boxes)))
        ]

    def run(self) -> list[Result[T]]:
        """Work until every box has ended; tell each that does.

        Returns:
            A result for each box, in the order in which they were given; also after Ctrl-C,
            which goes on to the caller: see `all_results`.
        """
        for thread in self._threads:
            thread.start()
        try:
            while len(self.results) < len(self._boxes):
                self._note(self._ended.get())
        except BaseException:
            self._stop()
            raise
        return self.all_results()

    def all_results(self) -> list[Result[T]]:
        """Return a result for each box, for those too that were not finished."""
        return [self.results.get(name) or self._unfinished(name) for name in self._boxes]

    def _unfinished(self, name: str) -> Result[T]:
        if name not in self._started:
            return Result(name=name, state="not started")
        seconds = time.monotonic() - self._started[name]
        return Result(name=name, state="interrupted", seconds=seconds)

    def _note(self, result: Result[T] | Exception) -> None:
        if isinstance(result, Exception):
            raise result
        self.results[result.name] = result
        count = f"{len(self.results)} of {len(self._boxes)}"
        text = f"{result.name}: {result.state} after {duration(result.seconds)} ({count})"
        if result.error:
            log.warning(f"{text}: {result.error.message}", host=result.name, ended=True)
        else:
            log.info(text, host=result.name, ended=True)

    def _take(self) -> None:
        while not self._stopped.is_set():
            try:
                name = self._waiting.pop(0)
            except IndexError:
                return
            try:
                self._ended.put(self._attempt(name))
            except StoppedError:
                return
            except Exception as error:  # a mistake of ours: the main thread raises it
                self._ended.put(error)

    def _attempt(self, name: str) -> Result[T]:
        started = self._started[name] = time.monotonic()
        try:
            value, error = self._logged(name)
        except OSError as problem:  # its log cannot be written, which is no matter of the others
            value, error = None, HostError(f"{problem.filename or name}: {problem.strerror}")
        state: State = "failed" if error else "done"
        seconds = time.monotonic() - started
        return Result(name=name, state=state, seconds=seconds, value=value, error=error)

    def _logged(self, name: str) -> tuple[T | None, CubeError | None]:
        """Work on a box with a log of its own.

        Raises:
            OSError: the log cannot be written.
        """
        with open_log(self._log_of(name)) as stream:
            teller = Teller(name, LogFile(stream), self._stopped)
            with log.apart(teller):
                value, error = self._outcome(name)
            if error:
                tell_failure(stream.write, error)
        return value, error

    def _outcome(self, name: str) -> tuple[T | None, CubeError | None]:
        try:
            return self._work(self._boxes[name]), None
        except CubeError as error:
            return None, error
        except OSError as error:
            return None, HostError(f"{error.filename or name}: {error.strerror or error}")

    def _stop(self) -> None:
        """Have every thread end: at its next word, or when what it waits for was ended."""
        self._stopped.set()
        self._on_stop()
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def tell_failure(write: Callable[[str], Any], error: CubeError) -> None:
    """Write why a box failed at the end of its log."""
    parts = [f"error: {error.message}", error.details, error.hint and f"what to do: {error.hint}"]
    with contextlib.suppress(OSError):  # a full disk: the summary says why the box failed, too
        write("".join(f"{part}\n" for part in parts if part))


class Teller:
    """Writes all that is told of a box to its log, and passes on what is for everybody."""

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
