"""One run of pyinfra for many hosts: those that ask for the same layer at about the same time.

pyinfra works on all of them in one process. A host that fails, hangs or vanishes is a matter of
that host: its last event says so, and whoever asked for it goes on at once.
"""

import contextlib
import json
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cube.provision import pyinfra_run
from cube.provision.pyinfra_events import EventFile, Journal
from cube.runtime import run
from cube.runtime.errors import CubeError, ProvisionError

#: Seconds without another host after which a run begins, and the most that the first waits.
QUIET_S = 0.3
MOST_S = 2.0
#: Seconds that a host may be late, as it gives up itself at its deadline; and that pyinfra has to
#: end once all hosts have.
LATE_S = 60.0
#: Attempts to connect again; a host that does not greet is not part of a run.
CONNECT_RETRIES = 1


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a run does: requests that are alike share one."""

    layer: int
    dry: bool
    diff: bool
    spec: str


@dataclass(kw_only=True)
class Request:
    """A host's part of a run: its description for inventory.py, and what is heard of it."""

    machine: dict[str, Any]
    timeout_s: float
    inbox: "queue.SimpleQueue[dict[str, Any] | str | CubeError]" = field(
        default_factory=queue.SimpleQueue
    )
    ended: bool = False

    @property
    def name(self) -> str:
        """What the host is called."""
        return str(self.machine["name"])

    def deliver(self, event: dict[str, Any]) -> None:
        """Pass an event on to who asked; nothing comes after the last one."""
        if not self.ended:
            self.ended = event["event"] == "exit"
            self.inbox.put(event)

    def follow(self, journal: Journal) -> int:
        """Write what comes in to a journal until the host has ended; return its exit code.

        Raises:
            CubeError: the run broke off, or the host did not end in time.
        """
        deadline = time.monotonic() + self.timeout_s + LATE_S
        while True:
            try:
                heard = self.inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise ProvisionError(f"did not end within {self.timeout_s:.0f} s") from None
            if isinstance(heard, CubeError):
                raise heard
            if isinstance(heard, str):
                journal.hear(heard)
                continue
            journal.take(heard)
            if heard["event"] == "exit":
                return int(heard["code"])


@dataclass(kw_only=True)
class Group:
    """Requests that wait for the same run."""

    requests: list[Request] = field(default_factory=list)
    first: float = field(default_factory=time.monotonic)
    newest: float = field(default_factory=time.monotonic)

    @property
    def complete(self) -> bool:
        """Whether the run begins."""
        now = time.monotonic()
        return now - self.newest >= QUIET_S or now - self.first >= MOST_S


class SharedRuns:
    """A `cube.provision.pyinfra_run.Pool`. Make one with `shared_runs`."""

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._waiting: dict[Kind, Group] = {}
        self._mutex = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def run(
        self,
        layer: int,
        env: Mapping[str, str],
        folder: Path,
        *,
        timeout_s: float,
        dry: bool = False,
        diff: bool = False,
    ) -> tuple[int, Journal]:
        """Apply a layer to the machine that `env` names; see `pyinfra_run.run_pyinfra`.

        Raises:
            ProvisionError: the run broke off, or the host did not end in time.
        """
        timeout_s = min(timeout_s, self._limit_s)
        machine = json.loads(Path(env["CUBE_MACHINE"]).read_text())
        machine["data"] |= {"cube_deadline_s": timeout_s, "ssh_connect_retries": CONNECT_RETRIES}
        request = Request(machine=machine, timeout_s=timeout_s)
        self._add(Kind(layer=layer, dry=dry, diff=diff, spec=env.get("CUBE_SPEC", "")), request)
        journal = Journal(file=folder / "events.jsonl")
        return request.follow(journal), journal

    def stop(self) -> None:
        """End every run; whoever waits for one gets an error."""
        self._stopped.set()
        for thread in list(self._threads):
            thread.join()

    def _add(self, kind: Kind, request: Request) -> None:
        with self._mutex:
            if kind not in self._waiting:
                self._waiting[kind] = Group()
                thread = threading.Thread(target=self._lead, args=(kind,), daemon=True)
                self._threads.append(thread)
                thread.start()
            group = self._waiting[kind]
            group.requests.append(request)
            group.newest = time.monotonic()

    def _lead(self, kind: Kind) -> None:
        """Wait until a group is complete, and run pyinfra for it."""
        group = self._waiting[kind]
        while not group.complete and not self._stopped.is_set():
            time.sleep(QUIET_S / 5)
        with self._mutex:
            del self._waiting[kind]
        hosts = {request.name: request for request in group.requests}
        error: CubeError
        try:
            run_together(kind, hosts, self._stopped)
            error = ProvisionError("pyinfra did not report the end of this host")
        except CubeError as problem:
            error = problem
        except OSError as problem:
            error = ProvisionError(f"{problem.filename or 'pyinfra'}: {problem.strerror}")
        for request in hosts.values():
            if not request.ended:
                request.inbox.put(error)


@contextlib.contextmanager
def shared_runs(*, limit_s: float) -> Iterator[SharedRuns]:
    """Yield what runs pyinfra for many hosts; nothing of it runs when the block is left.

    Args:
        limit_s: seconds for one layer on one host, at most.
    """
    runs = SharedRuns(limit_s=limit_s)
    try:
        yield runs
    finally:
        runs.stop()


def run_together(kind: Kind, hosts: Mapping[str, Request], stopped: threading.Event) -> None:
    """Run pyinfra for hosts, and pass each host's events and output on to its request.

    Raises:
        ProvisionError: it was stopped, did not end in time, or its events cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="cube-apply-") as name:
        listed, events = Path(name, "machines.json"), EventFile(Path(name, "events.jsonl"))
        listed.write_text(json.dumps([request.machine for request in hosts.values()]))
        events.path.touch()
        output: list[str] = []

        def pass_on() -> None:
            for event in events.read():
                hosts[event["host"]].deliver(event)

        def hear(line: str) -> None:
            pass_on()
            if named := named_in(line, hosts):
                named.inbox.put(line)
            else:
                output.append(line)

        def look() -> None:
            pass_on()
            if stopped.is_set():
                raise ProvisionError("pyinfra's run for several hosts was stopped")

        chosen = {"CUBE_MACHINE": str(listed), "CUBE_SPEC": kind.spec}
        command = pyinfra_run.pyinfra_args(dry=kind.dry, diff=kind.diff)
        command += ["--no-wait", f"--parallel={len(hosts)}", *pyinfra_run.layer_args(kind.layer)]
        run.stream(
            command,
            on_line=hear,
            on_tick=look,
            stop_with=signal.SIGKILL,
            cwd=pyinfra_run.PROJECT,
            timeout_s=max(one.timeout_s for one in hosts.values()) + LATE_S,
            env={**chosen, **pyinfra_run.quiet(events.path)},
        )
        pass_on()
        for request in hosts.values():
            if not request.ended:
                for line in output:
                    request.inbox.put(line)
                request.deliver({"event": "exit", "code": 1, "cause": given_up(output)})


def named_in(line: str, hosts: Mapping[str, Request]) -> Request | None:
    """Return the host whose name a line of pyinfra's output begins with."""
    name, bracket, _ = line.strip().removeprefix("[").partition("]")
    return hosts.get(name) if bracket else None


def given_up(output: list[str]) -> str:
    """Return why pyinfra ended without the last event of a host."""
    journal = Journal(file=Path(), output=output)
    return journal.cause() or "pyinfra did not report the end of this host"
