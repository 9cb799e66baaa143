"""The second boot of a clone, beside whatever goes on with another one meanwhile."""

import threading
import time

from cube.machines import Machine
from cube.runtime import log
from cube.runtime.errors import CubeError, ProofError
from cube.seal.clones import Seen, expect_same, look


class SecondBoot:
    """A clone's restart, in a thread of its own, which only waits for the guest.

    A program that ends meanwhile does not wait for it: with its machine, the thread ends.

    Args:
        machine: a clone that is up.
        seen: what it said of itself in its first boot.
    """

    def __init__(self, machine: Machine, seen: Seen) -> None:
        self.machine = machine
        self.seen = seen
        self._thread = threading.Thread(target=self._restart, name=machine.name, daemon=True)
        self._seconds = 0.0
        self._error: CubeError | None = None

    def begin(self) -> None:
        """Restart the clone, once; whoever calls it does not use the clone until `finish`."""
        if self._thread.ident is None:
            log.info(f"booting {self.machine.name} a second time")
            self._thread.start()

    def _restart(self) -> None:
        started = time.monotonic()
        try:
            self.machine.reboot()
        except CubeError as error:
            self._error = error
        self._seconds = time.monotonic() - started

    def finish(self) -> float:
        """Wait for the clone; return the seconds until it let the admin in again.

        Raises:
            ProofError: it did not come back as the same machine.
        """
        self.begin()
        name = self.machine.name
        with log.step(f"Waiting for the second boot of {name}"):
            self._thread.join()
            if self._error:
                raise ProofError(
                    f"{name} does not boot a second time: {self._error.message}",
                    details=self._error.details,
                ) from self._error
            expect_same(name, self.seen, look(self.machine))
        return self._seconds
