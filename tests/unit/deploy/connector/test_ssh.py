"""What goes through the shell, and what pyinfra does its own way."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from paramiko import Channel, SSHException

from deploy.connector import memory, ssh
from deploy.connector.answers import Answers
from deploy.connector.shell import Shell

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
