"""pyinfra's SSH connector, quicker where that is safe: hosts called ``@cube/NAME``."""

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from paramiko import Channel, SSHClient
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.output import echo
from pyinfra.api.state import State
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import DataMeta
from pyinfra.connectors.ssh import ConnectorData, SSHConnector, connector_data_meta
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command
from typing_extensions import Unpack

from deploy.connector import memory
from deploy.connector.answers import Answer, Answers
from deploy.connector.openssh import OpenSsh, Pipe, rights_of
from deploy.connector.shell import Shell
from deploy.runner import events

#: True while a fact is read: its commands only read. Each greenlet has its own.
_reading: ContextVar[bool] = ContextVar("reading", default=False)

#: What a command of a fact may be asked for, to go through the shell. Anything else (a terminal,
#: input, a time limit, another user, a password) goes pyinfra's own way.
PLAIN = frozenset({"_sudo", "_env", "_chdir", "_shell_executable"})
#: Defaults that say nothing about how a command runs.
IDLE = frozenset({"_retries", "_retry_delay", "_retry_until", "_success_exit_codes", "_temp_dir"})

#: A machine is dead after a minute without an answer: to what was sent (in milliseconds), or to
#: four questions, one every 15 s, when there is nothing to send.
DEAD_WHEN = {
    "TCP_USER_TIMEOUT": 60_000, "TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4,
}  # fmt: skip

#: What becomes root's shell, and the user's own: as pyinfra runs each command.
ROOT, USER = "exec sudo -H -n sh", "exec sh"


#: What is parsed is in plain English; LANGUAGE would go before a locale of C.UTF-8.
LOCALE = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
#: Arguments that take root's shell.
ELEVATED = ("_sudo", "_su_user", "_doas", "_dzdo")

#: Seconds for a fact of one host of several: pyinfra waits for the facts of all of them before it
#: begins with any operation.
FACT_S = 120.0


class CubeData(ConnectorData):
    """What may be set for a host, apart from what pyinfra's connector knows."""

    cube_ssh: list[str]
    cube_rights: dict[str, Any]
    cube_deadline_s: float
    cube_nodelay: bool
    cube_shell: bool
    cube_reuse: bool
    cube_batch: bool


DATA_META = {
    **connector_data_meta,
    "cube_ssh": DataMeta("OpenSSH's command up to the host; empty: pyinfra's own client", []),
    "cube_rights": DataMeta("How root's shell opens through it", {}),
    "cube_deadline_s": DataMeta("Seconds for all that is done on the host; 0: no limit", 0.0),
    "cube_nodelay": DataMeta("Send small packets at once (TCP_NODELAY)", True),
    "cube_shell": DataMeta("Read facts through one shell that stays open", True),
    "cube_reuse": DataMeta("Use a fact's answer again while nothing has changed", True),
    "cube_batch": DataMeta("Read at once the facts that the last run has read", True),
}


class CubeConnector(SSHConnector):
    """SSH with small packets sent at once, and facts asked through a shell that stays open."""

    data_cls = CubeData  # type: ignore[assignment] # a TypedDict's subclass is no subtype
    data_meta = DATA_META
    data: CubeData

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """Name the host itself: ``@cube/desk1`` is called desk1."""
        yield name, {"ssh_hostname": name}, []

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self._asking: dict[str, Asking] = {}
        self._begun = time.monotonic()
        self._openssh: OpenSsh | None = None

    def connect(self) -> None:
        """Connect; the deadline of the host counts from here.

        Raises:
            ConnectError: it does not answer, or does not let us in. Any other error, such as
                that of a broken key file, would end pyinfra for all hosts.
        """
        self._begun = time.monotonic()
        try:
            super().connect()
        except (PyinfraError, OSError, ValueError) as error:
            cause = events.cause_of(error)
            events.exit_host(self.host.name, code=1, cause=cause)
            raise ConnectError(cause) from error

    def _connect(self) -> None:
        if argv := self.data["cube_ssh"]:
            self._openssh = OpenSsh(argv=argv, rights=rights_of(self.data["cube_rights"]))
            try:
                self._openssh.connect()
            except OSError as error:  # no second try: a server counts failed connections
                raise ConnectError(f"Could not connect ({error})") from error
            watch_facts(self.host)
            return
        super()._connect()
        if self.data["cube_nodelay"]:
            hurry(self.client)
        give_up_the_dead(self.client)
        watch_facts(self.host)

    def disconnect(self) -> None:
        """Note what was asked, and end the shells."""
        for asking in self._asking.values():
            asking.end()
        super().disconnect()
        if self._openssh:
            self._openssh.close()

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        """Run a command: a fact's through the shell if it can be, any other as pyinfra does."""
        run = self._run_through_openssh if self._openssh else super().run_shell_command
        own = {**arguments, "_env": {**LOCALE, **(arguments.get("_env") or {})}}
        words = own if _reading.get() else arguments
        inner = partial(run, command, print_output, print_input, **words)

        def stock() -> tuple[bool, CommandOutput]:
            with self._in_time():
                return inner()

        if not _reading.get():
            with self._changing():
                return stock()
        if print_output or print_input or not self.data["cube_shell"] or not is_plain(arguments):
            return stock()
        with self._in_time():
            answer = self._ask(command, arguments)
        return stock() if answer is None else (True, output_of(answer))

    def _run_through_openssh(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        """Run a command as pyinfra does, in a shell that is root's already where it wants sudo."""
        assert self._openssh is not None
        words: dict[str, Any] = {**arguments}
        stdin, timeout_s = words.pop("_stdin", None), words.pop("_timeout", None)
        successes = words.pop("_success_exit_codes", None) or [0]
        words.pop("_get_pty", None)  # a terminal would mix both outputs; sudo gets one of its own
        root = any(words.get(key) for key in ELEVATED)
        if not words.get("_sudo_user"):
            words |= {"_sudo": False, "_use_sudo_login": False, "_preserve_sudo_env": False}
        words["_sudo_password"] = ""
        line = make_unix_command(command, **words)
        if print_input:
            echo(f"{self.host.print_prefix}>>> {line}", err=True)
        code, output = self._openssh.run(
            line.get_raw_value(),
            root=root,
            stdin=text_of(stdin),
            timeout_s=timeout_s,
            print_output=print_output,
            prefix=self.host.print_prefix,
        )
        return code in successes, output

    def _put_file(self, filename_or_io: Any, remote_location: str) -> None:  # noqa: ANN401 (pyinfra's signature)
        if not self._openssh:
            super()._put_file(filename_or_io, remote_location)
            return
        with get_file_io(filename_or_io) as stream:
            self._openssh.put(stream, remote_location)

    def _get_file(self, remote_filename: str, filename_or_io: Any) -> None:  # noqa: ANN401 (pyinfra's signature)
        if not self._openssh:
            super()._get_file(remote_filename, filename_or_io)
            return
        with get_file_io(filename_or_io, "wb") as stream:
            self._openssh.get(remote_filename, stream)

    def check_can_rsync(self) -> None:
        """Refuse what would go another way than all other commands.

        Raises:
            NotImplementedError: always for a host behind OpenSSH's client.
        """
        if self._openssh:
            raise NotImplementedError("files.rsync does not go through the connection of cube")
        super().check_can_rsync()

    def put_file(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ANN401 (pyinfra's signature)
        """Upload a file as pyinfra does."""
        with self._changing(), self._in_time():
            return super().put_file(*args, **kwargs)

    def rsync(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ANN401 (pyinfra's signature)
        """Upload a folder as pyinfra does."""
        with self._changing(), self._in_time():
            return bool(super().rsync(*args, **kwargs))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Forget what is known before and after something that may change the machine."""
        self._forget()
        try:
            yield
        finally:
            self._forget()

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        """Break off at the deadline of the host, and what only reads after `FACT_S` seconds.

        Raises:
            TimeoutError: pyinfra takes it for a failure of this host alone.
        """
        limit_s = self.data["cube_deadline_s"]
        if not limit_s:
            yield
            return
        left_s = max(0.001, self._begun + limit_s - time.monotonic())
        overdue = TimeoutError(f"did not end within {limit_s:.0f} s")
        if _reading.get() and left_s > FACT_S:
            left_s, overdue = FACT_S, TimeoutError(f"a fact is not read after {FACT_S:.0f} s")
        try:
            with gevent.Timeout(left_s, overdue):
                yield
        except TimeoutError as error:
            if error is overdue:
                events.exit_host(self.host.name, code=1, cause=str(error))
            raise

    def _forget(self) -> None:
        for asking in self._asking.values():
            asking.answers.changed()

    def _ask(self, command: StringCommand, arguments: Mapping[str, Any]) -> Answer:
        """Ask the shell that has the rights of the command."""
        start = ROOT if arguments.get("_sudo") else USER
        if start not in self._asking:
            self._asking[start] = asking(self, start)
        words = {key: arguments[key] for key in PLAIN if key in arguments}
        line = make_unix_command(command, **{**words, "_sudo": False}).get_raw_value()
        return self._asking[start].answers.get(line)


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A shell, what it has answered, and the file for what it was asked."""

    shell: Shell
    answers: Answers
    file: Path

    def end(self) -> None:
        """Keep the questions for the next run, and end the shell."""
        self.shell.close()
        self.answers.changed()
        asked = list(self.answers.asked)
        if asked != self.answers.expected:
            memory.save(self.file, asked)


def asking(connector: CubeConnector, start: str) -> Asking:
    """Return what asks one shell of a host."""

    def channel() -> Channel | Pipe:
        if connector._openssh:
            return Pipe(connector._openssh, root=start == ROOT)
        transport = connector.client.get_transport() if connector.client else None
        if transport is None:
            raise EOFError
        return transport.open_session()

    shell = Shell(channel, start)
    file = memory.file(connector.host.name, sys.argv[1:], start)
    expected = memory.load(file) if connector.data["cube_batch"] else []
    answers = Answers(ask=shell.ask, expected=expected, reuse=connector.data["cube_reuse"])
    return Asking(shell=shell, answers=answers, file=file)


def text_of(stdin: Any) -> str:  # noqa: ANN401 (pyinfra takes a text, lines or a file)
    """Return the text for a command's standard input, each line ended, as pyinfra writes it."""
    if not stdin:
        return ""
    lines = stdin.readlines() if hasattr(stdin, "readlines") else stdin
    rows = lines if isinstance(lines, list | tuple) else [lines]
    return "".join(row if row.endswith("\n") else f"{row}\n" for row in rows)


def is_plain(arguments: Mapping[str, Any]) -> bool:
    """Tell whether a command needs nothing but a shell, perhaps root's, and success is 0."""
    needs = {key for key, value in arguments.items() if value}
    shell = arguments.get("_shell_executable", "sh")
    successes = arguments.get("_success_exit_codes") or [0]
    return needs <= PLAIN | IDLE and isinstance(shell, str) and 0 in successes


def output_of(answer: str) -> CommandOutput:
    """Return an answer line by line, as pyinfra reads it from a channel."""
    lines = answer.removesuffix("\n").split("\n") if answer else []
    return CommandOutput([OutputLine("stdout", line) for line in lines])


def watch_facts(host: Host) -> None:
    """Note while a host reads a fact; once for each host.

    pyinfra notes a host whose fact fails, then goes on with the fact's default as long as there
    are other hosts; here that is an error of the host.
    """
    if "get_fact" in vars(host):
        return
    inner: Callable[..., Any] = host.get_fact

    def get_fact(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 (pyinfra's signature)
        token = _reading.set(True)
        try:
            found = inner(*args, **kwargs)
        finally:
            _reading.reset(token)
        if host in host.state.failed_hosts:
            raise PyinfraError(f"a fact could not be read: {named(args)}")
        return found

    host.get_fact = get_fact  # type: ignore[method-assign]


def named(args: Sequence[object]) -> str:
    """Return what `host.get_fact` was asked for."""
    return getattr(args[0], "__name__", "") if args else ""


def give_up_the_dead(client: SSHClient | None) -> None:
    """Have the kernel break a connection whose other end answers nothing more.

    A command would otherwise wait for a machine that lost its power or its network for hours.
    Source: tcp(7); other systems than Linux have some of these only.
    """
    transport = client.get_transport() if client else None
    if transport and isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in DEAD_WHEN.items():
            if hasattr(socket, name):
                transport.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def hurry(client: SSHClient | None) -> None:
    """Send small packets at once: pyinfra and paramiko leave Nagle's algorithm on.

    It costs about 40 ms a command on a loopback connection.
    Source: tcp(7), TCP_NODELAY; measured in docs/how-it-works.md.
    """
    transport = client.get_transport() if client else None
    if transport and isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
