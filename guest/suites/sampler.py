"""Samples of something that changes, taken beside the work."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from guest.checking.program import end_running

T = TypeVar("T")
#: Seconds that a sample in the making may take at the end.
JOIN_S = 10


@dataclass(kw_only=True)
class Sampler(Generic[T]):
    """Reads a value again and again while a block runs; None is a gap.

    Args:
        read: takes a sample.
        pause_s: seconds between two samples.
        samples: each with its time, in seconds since the epoch.
    """

    read: Callable[[], T | None]
    pause_s: float
    samples: list[tuple[float, T]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self, *, wanted: bool = True) -> Iterator[None]:
        """Sample while the block runs."""
        thread = threading.Thread(target=self.sample, daemon=True)
        if wanted:
            thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            if wanted:
                thread.join(timeout=JOIN_S)
                end_running()

    def sample(self) -> None:
        """Take samples until stopped; the first one at once, as the work may be short."""
        while True:
            value = self.read()
            if value is not None:
                self.samples.append((time.time(), value))
            if self.stopped.wait(self.pause_s):
                return
