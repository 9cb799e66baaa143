"""Processes of pyinfra that apply layers to many machines at once: `deploy/runner/serve.py`.

One process drives many hosts, so pyinfra starts once and not for each of them; there is one for
every processor of this machine, as Python uses one at a time.
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cube.config import Spec
from cube.provision.pyinfra_events import ROOM, Journal
from cube.runtime import run
from cube.runtime.errors import ProvisionError

PROJECT = Path(__file__).resolve().parents[2]

#: Seconds between two looks at a job's events.
LOOK_S = 0.2
#: Seconds that a job may be late; it has ended itself at its deadline.
LATE_S = 60.0
#: Hosts for which one more process pays: it takes about a second to start.
WORTH = 3


class End(threading.Event):
    """Is set when a job has ended; `trouble` is why its events do not say so, if it is known."""

    trouble = ""


class Server:
    """A running `deploy/runner/serve.py`."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self._ended: dict[int, End] = {}
        self._gone = False
        self._mutex = threading.Lock()
        self.load = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def submit(self, job: dict[str, object]) -> End:
        """Hand a job over; return what is set when it has ended, or the process has.

        Raises:
            ProvisionError: the process has ended.
        """
        ended = End()
        assert self._popen.stdin is not None
        with self._mutex:
            if not self._gone:
                self._ended[int(str(job["id"]))] = ended
                with contextlib.suppress(OSError):  # it has just ended: `_listen` is told, too
                    self._popen.stdin.write(json.dumps(job).encode() + b"\n")
                return ended
        raise ProvisionError("pyinfra's process for many hosts has ended")

    def stop(self) -> None:
        """End it, with all that it does."""
        self._popen.kill()
        self._popen.wait()
        self._thread.join()
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as lines:
            for line in lines:
                number, _, trouble = line.decode(errors="replace").strip().partition(" ")
                with self._mutex:
                    ended = self._ended.pop(int(number))
                ended.trouble = trouble
                ended.set()
        with self._mutex:
            self._gone = True
            for ended in self._ended.values():
                ended.set()


class Crew:
    """Servers that share the work. Make one with `crew`."""

    def __init__(self, servers: list[Server], errors: Path, *, limit_s: float) -> None:
        self._servers = servers
        self._limit_s = limit_s
        self._errors = errors
        self._ids = itertools.count(1)
        self._mutex = threading.Lock()

    def run(
        self, layer: int, env: Mapping[str, str], folder: Path, *, timeout_s: float,
        dry: bool = False, diff: bool = False,
    ) -> tuple[int, Journal]:  # fmt: skip
        """Apply a layer to the machine that `env` names; see `pyinfra_run.run_pyinfra`.

        Raises:
            ProvisionError: the process that did it ended, does not answer, or could not write
                events.
        """
        timeout_s = min(timeout_s, self._limit_s)
        journal = Journal(file=folder / "events.jsonl")
        journal.file.touch()
        job: dict[str, object] = {
            "id": next(self._ids), "machine": env["CUBE_MACHINE"], "events": str(journal.file),
            "layer": layer, "timeout_s": timeout_s, "dry": dry, "diff": diff,
        }  # fmt: skip
        with self._chosen() as server:
            ended = server.submit(job)
            follow(ended, journal, timeout_s=timeout_s + LATE_S)
        ends = journal.of("exit")
        if not ends:
            raise self._broken(journal.file, ended.trouble)
        return int(ends[-1]["code"]), journal

    def stop(self) -> None:
        """End all of it: every job that runs ends with an error."""
        for server in self._servers:
            server.stop()

    def _broken(self, file: Path, trouble: str) -> ProvisionError:
        """Build the error for a job whose events do not say how it ended."""
        details = run.tail(self._errors.read_text(errors="replace"))
        if trouble:
            message = f"pyinfra's events of this host broke off: {file}: {trouble}"
            return ProvisionError(message, hint=ROOM, details=details)
        return ProvisionError("pyinfra's process for many hosts broke off", details=details)

    @contextlib.contextmanager
    def _chosen(self) -> Iterator[Server]:
        """Take the server with the least to do."""
        with self._mutex:
            alive = [one for one in self._servers if one.alive] or self._servers
            server = min(alive, key=lambda one: one.load)
            server.load += 1
        try:
            yield server
        finally:
            with self._mutex:
                server.load -= 1


def follow(ended: threading.Event, journal: Journal, *, timeout_s: float) -> None:
    """Read a job's events until it has ended.

    Raises:
        ProvisionError: it did not in time, or what it wrote cannot be read.
    """
    deadline = time.monotonic() + timeout_s
    while not ended.wait(LOOK_S):
        journal.poll()
        if time.monotonic() > deadline:
            raise ProvisionError(f"pyinfra said nothing of its end for {timeout_s:.0f} s")
    journal.poll()


@contextlib.contextmanager
def crew(spec: Spec, hosts: int, *, limit_s: float) -> Iterator[Crew]:
    """Start processes for a number of hosts; none of them runs when the block is left.

    Args:
        spec: what the layers are made from.
        hosts: how many share them.
        limit_s: seconds for one layer on one host, at most.
    """
    count = max(1, min(os.cpu_count() or 1, hosts // WORTH))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cube-crew-")))
        errors = folder / "errors"
        servers: list[Server] = []
        for _ in range(count):
            servers.append(Server(start(spec, errors)))
            stack.callback(servers[-1].stop)
        yield Crew(servers, errors, limit_s=limit_s)


def start(spec: Spec, errors: Path) -> "subprocess.Popen[bytes]":
    """Start one process; what it says on standard error goes to the end of a file."""
    argv = [sys.executable, "-m", "deploy.runner.serve"]
    env = {"CUBE_SPEC": str(spec.file.absolute())}
    return run.converse(argv, errors=errors, env=env, cwd=PROJECT)
