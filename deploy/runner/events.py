"""Progress for programs: one JSON object a line in the file that `CUBE_EVENTS` names.

`plan` lists the operations of a layer and says why it applies, `skip` says why it does not,
`start` and `end` frame each operation; with --diff, `end` has what it changed in files. In a dry
run `predict` says of each operation whether it would change something, by which commands, and
with which difference in a file. `exit` is the last event of a host, with an exit code and, unless
an operation failed, the cause. Every event names its host. Without the variable nothing is
written. Commands, differences and errors go to logs: they are told without the logins in URLs.
"""

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State, StateOperationHostData

from deploy.runner.event_file import VARIABLE, cause_of, destination, emit, exit_host
from deploy.runner.redact import masked

#: Of `event_file`, for those who use both modules.
__all__ = ["VARIABLE", "cause_of", "destination", "emit", "exit_host"]

#: Lines of a failed command's output that go into an event.
TAIL_LINES = 20

#: Colours of a terminal. Source: ECMA-48, 8.3.117 (SGR).
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


#: What a greenlet that listens to itself has heard.
_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def give_up(state: State, host: Host, error: Exception) -> bool:
    """Go on without a host whose operations cannot be prepared.

    Returns:
        False when no other host is left: pyinfra then ends by the error itself.
    """
    exit_host(host.name, code=1, cause=cause_of(error))
    if state.active_hosts <= {host}:
        return False
    logger.error(f"{host.print_prefix}{cause_of(error)}")
    state.fail_hosts({host})
    return True


class Recorder(BaseStateCallback):
    """Reports each operation of each host, and counts what it ran and asked."""

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, object]] = {}
        self.started: dict[tuple[str, str], float] = {}
        self.commands: dict[str, list[str]] = {}
        self.output: dict[str, str] = {}
        self.said: dict[str, list[str]] = {}

    def watch(self, host: Host) -> None:
        """Note every command that this host runs, and what the newest printed."""
        inner: Callable[..., Any] = host.connector.run_shell_command
        self.commands[host.name] = []

        def noted(command: object, *args: object, **kwargs: Any) -> Any:  # noqa: ANN401
            ok, output = inner(command, *args, **kwargs)
            stdin = kwargs.get("_stdin")
            self.commands[host.name].append(shown(command, stdin))
            if not ok:
                last = output.output.splitlines()[-TAIL_LINES:]
                self.output[host.name] = masked("\n".join(last))
            return ok, output

        host.connector.run_shell_command = noted  # type: ignore[method-assign]

    def label(self, host: Host, first: int, **fields: object) -> list[dict[str, object]]:
        """Remember layer and role of the operations that were added since number `first`."""
        added = host.op_hash_order[first:]
        for op_hash in added:
            self.labels[op_hash] = fields
            if destination() and host.state.should_check_for_changes():
                self._emit("predict", host.state, host, op_hash, **prediction(host, op_hash))
        return [{"id": op_hash, "name": name_of(host.state, op_hash)} for op_hash in added]

    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        """Start the clock and the list of commands; follow an operation that is no part of one."""
        if op_hash not in state.ops[host] or host.executing_op_hash is not None:
            return
        self.started[host.name, op_hash] = time.monotonic()
        self.commands[host.name].clear()
        self.said[host.name] = []
        data = state.get_op_data_for_host(host, op_hash)
        if destination() and state.config.DIFF:
            listen(state, data, self.said[host.name])
        guard(state, host, data)
        self._emit("start", state, host, op_hash)
        self._follow(state, host, op_hash)

    def _follow(self, state: State, host: Host, op_hash: str) -> None:
        """Report an operation once it is known whether it changed something, and the host's last.

        No callback comes then: `operation_end` waits for every host, and with --no-wait it
        never comes. Source: pyinfra/api/operations.py, `_run_host_op`, `_run_no_wait_ops`.
        """
        meta = state.get_op_data_for_host(host, op_hash).operation_meta
        complete = meta.set_complete

        def completed(success: bool, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            complete(success, *args, **kwargs)
            if success:
                seconds = time.monotonic() - self.started.pop((host.name, op_hash))
                self._end(state, host, op_hash, seconds=seconds, changed=meta.did_change())
            if op_hash == host.op_hash_order[-1] and host not in state.failed_hosts:
                self._finish(host)

        meta.set_complete = completed  # type: ignore[method-assign]

    def operation_host_error(  # type: ignore[override]
        self,
        state: State,
        host: Host,
        op_hash: str,
        retry_count: int = 0,
        max_retries: int = 0,
    ) -> None:
        """Report a failed operation with the last lines of what its command printed.

        With --no-wait pyinfra itself would end with 0: it does not note that the host failed.
        """
        del retry_count, max_retries
        if (host.name, op_hash) not in self.started:  # a part of one that is reported
            return
        seconds = time.monotonic() - self.started.pop((host.name, op_hash))
        error = self.output.get(host.name) or "the command printed nothing"
        self._end(state, host, op_hash, seconds=seconds, changed=False, error=error)
        if not state.get_op_data_for_host(host, op_hash).global_arguments["_ignore_errors"]:
            state.failed_hosts.add(host)
            exit_host(host.name, code=1)

    def _finish(self, host: Host) -> None:
        """Run the script of `host.data.last_question`, if there is one, and report the output."""
        script = host.data.get("last_question")
        if destination() and script:
            with contextlib.suppress(OSError, SSHException, EOFError):  # who wants it asks again
                sudo = bool(host.data.get("_sudo"))
                ok, output = host.run_shell_command(StringCommand(script), _sudo=sudo)
                if ok:
                    emit("answer", host=host.name, text="\n".join(output.stdout_lines))
        exit_host(host.name)

    def _end(self, state: State, host: Host, op_hash: str, **fields: object) -> None:
        commands, diff = list(self.commands[host.name]), plain(host, self.said[host.name])
        told = {"execs": len(commands), "commands": commands, "diff": diff}
        self._emit("end", state, host, op_hash, **told, **fields)

    def _emit(self, event: str, state: State, host: Host, op_hash: str, **fields: object) -> None:
        labels = self.labels.get(op_hash, {})
        name = name_of(state, op_hash)
        emit(event, id=op_hash, host=host.name, name=name, **labels, **fields)


def guard(state: State, host: Host, data: StateOperationHostData) -> None:
    """Report a host that fails while an operation decides on its commands, as by a fact.

    With --no-wait pyinfra drops that error: no callback is called, and it ends with 0.
    """
    inner = data.command_generator

    def guarded() -> Iterator[PyinfraCommand]:
        try:
            yield from inner()
        except Exception as error:
            state.failed_hosts.add(host)
            exit_host(host.name, code=1, cause=cause_of(error))
            raise

    data.command_generator = guarded


def shown(command: object, stdin: object) -> str:
    """Return a command as it could be pasted, with what it reads, but for the logins in URLs."""
    return masked(f"{command} <<'STDIN'\n{stdin}STDIN" if stdin else str(command))


def prediction(host: Host, op_hash: str) -> dict[str, object]:
    """Return what an operation that was prepared would do to the host as it is now.

    pyinfra has asked the operation for its first command by then; here it is asked for all of
    them once more. Its `_if` and what operations before it would change are not known yet.
    """
    data = host.state.get_op_data_for_host(host, op_hash)
    if not data.operation_meta.will_change:
        return {"changes": False, "commands": [], "diff": ""}
    with overheard() as said:
        found = list(data.command_generator())
    commands = [shown(one, one.connector_arguments.get("_stdin")) for one in found]
    return {"changes": True, "commands": commands, "diff": plain(host, said)}


def plain(host: Host, said: Sequence[str]) -> str:
    """Return what an operation said, without the host's name before it."""
    prefix = COLOUR.sub("", host.print_prefix)
    return masked("\n".join(line.removeprefix(prefix) for line in said)).strip("\n")


def listen(state: State, data: StateOperationHostData, said: list[str]) -> None:
    """Note what an operation will say while it decides on its commands."""
    inner = data.command_generator

    def heard() -> Iterator[PyinfraCommand]:
        said.clear()
        try:
            yield from overhear(inner(), said)
        except UnicodeDecodeError:  # pyinfra compares every file as text
            said.append("what it changes is no text")
            state.config.DIFF = False
            yield from inner()
            state.config.DIFF = True

    data.command_generator = heard


def overhear(commands: Iterator[PyinfraCommand], said: list[str]) -> Iterator[PyinfraCommand]:
    """Pass commands on; note what is said in between, but not what they print themselves."""
    while True:
        with overheard() as lines:
            command = next(commands, None)
        said += lines
        if command is None:
            return
        yield command


class Ears(logging.Filter):
    """Gives what a greenlet logs to that greenlet, line by line, without colours.

    Each listens to itself alone: those of other hosts go on beside it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep one message back, if its greenlet listens."""
        said = _heard.get()
        if said is not None:
            said.append(COLOUR.sub("", record.getMessage()).rstrip())
        return said is None


_ears = Ears()


@contextlib.contextmanager
def overheard() -> Iterator[list[str]]:
    """Take what this greenlet logs through pyinfra while the block runs, such as a difference."""
    if _ears not in logger.filters:
        logger.addFilter(_ears)
    said: list[str] = []
    token = _heard.set(said)
    try:
        yield said
    finally:
        _heard.reset(token)


def name_of(state: State, op_hash: str) -> str:
    """Return an operation's sentence, without the deploy names that pyinfra puts before it."""
    names = state.get_op_meta(op_hash).names
    return ", ".join(sorted(name.rsplit(" | ", 1)[-1] for name in names))


def recorder(state: State, host: Host) -> Recorder:
    """Return the run's recorder, watching this host; made and registered on first use."""
    found = [handler for handler in state.callback_handlers if isinstance(handler, Recorder)]
    if not found:
        found = [Recorder()]
        state.add_callback_handler(found[0])
    if host.name not in found[0].commands:
        found[0].watch(host)
    return found[0]
