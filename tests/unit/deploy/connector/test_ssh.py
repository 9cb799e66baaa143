"""What goes through the shell, and what pyinfra does its own way."""

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from paramiko import Channel, SSHException
from pyinfra.api.exceptions import PyinfraError

from deploy.connector import memory, ssh
from deploy.connector.answers import Answers
from deploy.connector.shell import Shell
from deploy.runner import event_file, events

#: What pyinfra passes for an ordinary fact.
ORDINARY: dict[str, Any] = {
    "_sudo": True, "_sudo_user": None, "_su_user": None, "_shell_executable": "sh", "_env": {},
    "_chdir": None, "_retries": 0, "_retry_delay": 5, "_retry_until": None,
    "_success_exit_codes": [0], "_timeout": None, "_get_pty": False, "_stdin": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "more", [{}, {"_sudo": False}, {"_env": {"A": "b"}}, {"_chdir": "/tmp"}, {"_retries": 3}]
)
def test_an_ordinary_fact_is_plain(more: dict[str, Any]) -> None:
    assert ssh.is_plain({**ORDINARY, **more})


@pytest.mark.parametrize(
    "more",
    [
        {"_get_pty": True},
        {"_stdin": "text"},
        {"_timeout": 5},
        {"_su_user": "ada"},
        {"_sudo_user": "ada"},
        {"_sudo_password": "secret"},
        {"_use_sudo_login": True},
        {"_preserve_sudo_env": True},
        {"_doas": True},
        {"_dzdo": True},
        {"_success_exit_codes": [1]},
        {"_shell_executable": None},
        {"_something_new": True},
    ],
)
def test_what_needs_more_than_a_shell_goes_pyinfras_own_way(more: dict[str, Any]) -> None:
    assert not ssh.is_plain({**ORDINARY, **more})


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        ("", []),
        ("\n", [""]),
        ("one", ["one"]),
        ("one\n", ["one"]),
        ("one\n\ntwo\n\n", ["one", "", "two", ""]),
    ],
)
def test_lines_are_those_that_pyinfra_would_read(answer: str, lines: list[str]) -> None:
    output = ssh.output_of(answer)
    assert output.stdout_lines == lines
    assert output.stderr_lines == []


class Host:
    """Reads a fact, which may read others, and may fail."""

    def __init__(self) -> None:
        self.seen: list[bool] = []
        self.state = SimpleNamespace(failed_hosts=set[Host]())

    def get_fact(self, depth: int) -> None:
        self.seen.append(ssh._reading.get())
        if depth < 0:
            raise RuntimeError
        if depth:
            self.get_fact(depth - 1)


@pytest.fixture
def host() -> Host:
    made = Host()
    ssh.watch_facts(made)  # type: ignore[arg-type]
    ssh.watch_facts(made)  # type: ignore[arg-type]
    return made


def test_only_a_fact_is_reading_and_facts_may_nest(host: Host) -> None:
    host.get_fact(2)
    assert host.seen == [True] * 3
    assert not ssh._reading.get()


def test_a_fact_that_fails_leaves_nothing_reading(host: Host) -> None:
    with pytest.raises(RuntimeError):
        host.get_fact(-1)
    assert host.seen == [True]
    assert not ssh._reading.get()


def test_a_fact_that_pyinfra_noted_as_failed_is_an_error(host: Host) -> None:
    """pyinfra goes on with the fact's default as long as there are other hosts."""
    host.state.failed_hosts.add(host)
    with pytest.raises(PyinfraError, match="a fact could not be read"):
        host.get_fact(0)


def connector(limit_s: float) -> ssh.CubeConnector:
    made = object.__new__(ssh.CubeConnector)
    made.data = {"cube_deadline_s": limit_s}  # type: ignore[typeddict-item]
    made.host = SimpleNamespace(name="desk1")  # type: ignore[assignment]
    made._begun = time.monotonic()
    return made


def exits(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(events.VARIABLE, str(tmp_path / "events"))
    monkeypatch.setattr(event_file, "_ended", set())
    return tmp_path / "events"


def test_a_host_ends_once_at_its_deadline(written: Path) -> None:
    made = connector(0.2)
    for _ in range(2):  # what is begun after it, too
        with pytest.raises(TimeoutError, match="did not end within 0 s"), made._in_time():
            gevent.sleep(5)
    assert exits(written) == [
        {"event": "exit", "host": "desk1", "code": 1, "cause": "did not end within 0 s"}
    ]


def test_a_fact_of_one_of_several_hosts_ends_before_their_deadline(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "FACT_S", 0.1)
    token = ssh._reading.set(True)
    try:
        with pytest.raises(TimeoutError), connector(60)._in_time():
            gevent.sleep(5)
    finally:
        ssh._reading.reset(token)
    assert exits(written)[0]["cause"] == "a fact is not read after 0 s"


def test_a_timeout_of_a_command_itself_is_not_the_end_of_the_host(written: Path) -> None:
    with pytest.raises(TimeoutError), connector(60)._in_time():
        raise TimeoutError
    with connector(0)._in_time():  # a run on one host has no deadline
        gevent.sleep(0)
    assert not written.exists()


def test_the_next_run_expects_what_this_one_asked(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_channel() -> Channel:
        raise SSHException

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = memory.file("desk1", ["deploy/site.py"], ssh.ROOT)
    shell = Shell(no_channel, ssh.ROOT)
    asking = ssh.Asking(shell=shell, answers=Answers(ask=shell.ask), file=file)
    asking.answers.get("one"), asking.answers.get("two"), asking.answers.get("one")
    asking.end()
    assert memory.load(file) == ["one", "two"]


def test_a_dead_machine_is_given_up_after_a_minute() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as line,
    ):
        client = SimpleNamespace(get_transport=lambda: SimpleNamespace(sock=line))
        ssh.give_up_the_dead(client)  # type: ignore[arg-type]
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15


def test_small_packets_are_sent_at_once() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as line,
    ):
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        client = SimpleNamespace(get_transport=lambda: SimpleNamespace(sock=line))
        ssh.hurry(client)  # type: ignore[arg-type]
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
