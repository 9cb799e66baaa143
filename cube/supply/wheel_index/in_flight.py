"""Files that are on their way: who asks for one meanwhile gets it as it comes, fetched once."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class Arrival:
    """A file that is being written, as those who read it behind its writer know it."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._part: Path | None = None
        self._readable = 0
        self._over = False
        #: Bytes that will come; known once `opened` has given a file.
        self.length = 0

    def begin(self, part: Path | None, length: int) -> None:
        """Say where it is written, and how much will come.

        Args:
            part: the file; None: it is not kept.
            length: bytes; 0: that is not known.
        """
        with self._news:
            self._part, self.length = part, length
            self._over = part is None or not length
            self._news.notify_all()

    def tell(self, readable: int) -> None:
        """Say how many bytes of it are there to be read."""
        with self._news:
            self._readable = readable
            self._news.notify_all()

    def end(self) -> None:
        """Say that nothing more will come."""
        with self._news:
            self._over = True
            self._news.notify_all()

    def opened(self) -> BinaryIO | None:
        """Wait until it is begun, and open it; None: it cannot be read behind its writer."""
        with self._news:
            self._news.wait_for(lambda: self._over or self._readable)
            if self._part is None or not self._readable:
                return None
            try:
                return self._part.open("rb")
            except OSError:
                return None

    def wait(self, sent: int) -> int:
        """Wait for more than `sent` bytes; return how many there are, `sent` if none will come."""
        with self._news:
            self._news.wait_for(lambda: self._over or self._readable > sent)
            return max(self._readable, sent)


class Arrivals:
    """All that is on its way, by sha256."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._coming: dict[str, Arrival] = {}

    @contextlib.contextmanager
    def claimed(self, sha256: str) -> Iterator[tuple[Arrival, bool]]:
        """Yield what is known of a file's way, and whether it is the caller who fetches it.

        Args:
            sha256: of the file; empty: it is fetched for the caller alone.
        """
        with self._mutex:
            found = self._coming.get(sha256) if sha256 else None
            arrival = found or Arrival()
            if sha256 and not found:
                self._coming[sha256] = arrival
        try:
            yield arrival, not found
        finally:
            if not found:
                with self._mutex:
                    self._coming.pop(sha256, None)
                arrival.end()
