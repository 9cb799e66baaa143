"""Apply layers to many hosts in one process: jobs come as lines of JSON, their events go to files.

Importing pyinfra and reading the specification takes longer than a host that needs no change, so
it is done once. Each job has pyinfra's state to itself, and a greenlet: no host waits for another
one, as it does at every operation in pyinfra's own command line, and each has its deadline.

A job is ``{"id": 1, "machine": FILE, "events": FILE, "layer": 1, "timeout_s": 7200, "dry": false,
"diff": false}``; `machine` is what `CUBE_MACHINE` names for inventory.py. When it has ended, its
last event is ``{"event": "exit", "code": 0, "cause": ""}``, and its id is printed; where that event
could not be written, why follows on the same line.
"""

# isort: off
import pyinfra_cli  # noqa: F401  (first: it has gevent replace what blocks)

# isort: on
import json
import logging
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from weakref import WeakKeyDictionary

import gevent
import pyinfra
from gevent.fileobject import FileObject
from pyinfra import logger
from pyinfra.api.config import Config
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operations import run_host_op
from pyinfra.api.state import State, StateStage
from pyinfra.api.util import log_operation_start
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state
from pyinfra_cli.exceptions import UnexpectedExternalError
from pyinfra_cli.util import exec_file

from cube.config import Spec, load
from cube.config.load import DEFAULT_FILE
from deploy.runner import events, hosts, redact

#: Attempts to connect again, where nothing answers: the caller has logged in just before.
CONNECT_RETRIES = 1


class Context:
    """Holds an object for each greenlet where pyinfra's command line has one for all of them."""

    def __init__(self) -> None:
        self._modules: WeakKeyDictionary[object, object] = WeakKeyDictionary()

    @property
    def module(self) -> object:
        """Return that of the current greenlet; None when it has none."""
        return self._modules.get(gevent.getcurrent())

    @module.setter
    def module(self, value: object) -> None:
        self._modules[gevent.getcurrent()] = value


@dataclass(frozen=True, kw_only=True)
class Job:
    """A layer for a host; see the module."""

    id: int
    machine: Path
    events: Path
    layer: int
    timeout_s: float
    dry: bool
    diff: bool

    @classmethod
    def parse(cls, line: str) -> "Job":
        """Read one."""
        row = json.loads(line)
        return cls(**{**row, "machine": Path(row["machine"]), "events": Path(row["events"])})


class JobLog(logging.Handler):
    """Writes what pyinfra says beside the events of the job that it says it of."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        events.emit("said", text=events.COLOUR.sub("", record.getMessage()))


def main() -> int:
    """Take jobs until standard input ends; those that run then are given up."""
    pyinfra.is_cli = True  # operations are then told apart by their place in the deploy files
    for context in (ctx_state.context, ctx_inventory.context):
        context._container = Context()  # there is no public way to have several
    logger.setLevel(logging.INFO)
    logger.addHandler(JobLog())
    logger.propagate = False
    spec = load(Path(os.environ.get("CUBE_SPEC") or DEFAULT_FILE))
    redact.remember_all(spec.model_dump())
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", errors="backslashreplace")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else prints is no answer
    for line in FileObject(sys.stdin.fileno(), "r", closefd=False):
        gevent.spawn(serve, spec, Job.parse(line), answers)
    return 0


def serve(spec: Spec, job: Job, answers: TextIO) -> None:
    """Do a job, whatever comes of it, and say that it has ended."""
    trouble = "it was broken off"
    try:
        with events.writing_to(job.events):
            cause = attempt(spec, job)
            events.emit("exit", code=1 if cause else 0, cause=cause)
        trouble = ""
    except Exception as error:  # such as a full disk: nothing more can be said by an event
        trouble = " ".join((str(error) or type(error).__name__).split())
    finally:
        print(f"{job.id} {trouble}".rstrip(), file=answers, flush=True)


def attempt(spec: Spec, job: Job) -> str:
    """Do a job; return why it failed, empty when it did not."""
    limit = gevent.Timeout(job.timeout_s)
    try:
        with limit:
            perform(spec, job)
    except gevent.Timeout as overdue:
        if overdue is not limit:
            raise
        return f"no end after {job.timeout_s:.0f} s"
    except UnexpectedExternalError as error:
        logger.error(error.get_traceback())
        return f"{type(error.exception).__name__}: {error.exception}"
    except (PyinfraError, OSError, ValueError, KeyError, TypeError) as error:
        return str(error) or type(error).__name__
    except Exception as error:  # whatever it is: nobody else would tell that the job has ended
        logger.error(traceback.format_exc())
        return f"{type(error).__name__}: {error}"
    return ""


def perform(spec: Spec, job: Job) -> None:
    """Connect to the job's host, add the layer's operations, and run them unless it is dry.

    Raises:
        PyinfraError: the host does not answer, or an operation or a fact failed.
    """
    state, host = prepare(hosts.machine_of(spec, job.machine), job)
    try:
        host.connect(raise_exceptions=True)
        state.activate_host(host)
        state.set_stage(StateStage.Prepare)
        state.current_deploy_filename = f"deploy/layer{job.layer}.py"
        exec_file(state.current_deploy_filename)
        if not job.dry:
            execute(state, host)
    finally:
        release(host)


def prepare(described: hosts.Host, job: Job) -> tuple[State, Host]:
    """Make pyinfra's state for one host, and make it that of this greenlet."""
    name, data = described
    inventory = Inventory(([(name, {**data, "ssh_connect_retries": CONNECT_RETRIES})], {}))
    config = Config(DIFF=job.diff)
    state = State(check_for_changes=job.dry)
    state.cwd = str(Path.cwd())
    ctx_state.set(state)
    ctx_inventory.set(inventory)
    state.init(inventory, config)
    (host,) = inventory
    ctx_config.set(config.copy())
    ctx_host.set(host)
    state.set_stage(StateStage.Connect)
    return state, host


def execute(state: State, host: Host) -> None:
    """Run every operation of the host, in order.

    Raises:
        PyinfraError: one failed.
    """
    state.set_stage(StateStage.Execute)
    state.is_executing = True
    for op_hash in list(host.op_hash_order):
        meta = state.get_op_meta(op_hash)
        log_operation_start(meta)
        if not run_host_op(state, host, op_hash):
            raise PyinfraError(f"{events.name_of(state, op_hash)}: failed")


def release(host: Host) -> None:
    """Let go of a host, also of one that does not answer any more."""
    client: Any = getattr(host.connector, "client", None)
    if host.connected:
        host.disconnect()
    if client:
        client.close()


if __name__ == "__main__":
    sys.exit(main())
