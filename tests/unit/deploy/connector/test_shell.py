"""The shell gives what pyinfra would have read, or nothing at all: then pyinfra reads it itself."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest
from paramiko import SSHException

from deploy.connector import framing, shell
from deploy.connector.answers import Answer
from deploy.connector.shell import Shell


class Channel:
    """A real program on pipes, as paramiko's channel would show it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def settimeout(self, _seconds: float) -> None:
        pass

    def exec_command(self, command: str) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def sendall(self, data: bytes) -> None:
        assert self.process
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def recv(self, size: int) -> bytes:
        assert self.process
        assert self.process.stdout
        return self.process.stdout.read1(size)  # type: ignore[attr-defined, no-any-return]

    def close(self) -> None:
        if self.process:
            with contextlib.suppress(BrokenPipeError), self.process:
                self.process.kill()


@pytest.fixture
def opened() -> Iterator[Shell]:
    made = Shell(Channel, "exec sh")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("sh -c 'echo one; echo two'", "one\ntwo\n"),
        ("sh -c 'printf without-an-end'", "without-an-end"),
        ("sh -c true", ""),
        ("sh -c 'echo; echo'", "\n\n"),
        ("sh -c 'echo \"a  b\"; echo Grüße'", "a  b\nGrüße\n"),
        ("sh -c 'cat'", ""),
        ("sh -c 'echo out; echo err >&2'", "out\n"),
        ("sh -c 'exit 3'", None),
        ("sh -c 'if'", None),
        ("no-such-program", None),
        ("sh -c 'printf \"\\377\"'", None),
    ],
)
def test_an_answer_is_what_the_command_printed(opened: Shell, command: str, answer: Answer) -> None:
    assert opened.ask([command, "sh -c 'echo next'"]) == [answer, "next\n"]
    assert not opened.lost


def test_many_answers_come_in_order(opened: Shell) -> None:
    commands = [f"sh -c 'seq {number} {number + 3000}'" for number in range(40)]
    assert [answer and answer.split("\n")[0] for answer in opened.ask(commands)] == [
        str(number) for number in range(40)
    ]


def test_a_shell_that_ends_leaves_no_answer_and_is_not_tried_again(opened: Shell) -> None:
    assert opened.ask(["sh -c 'echo one'", "kill $$", "sh -c 'echo three'"]) == [None] * 3
    assert opened.lost
    assert opened.ask(["sh -c 'echo one'"]) == [None]


def test_a_shell_that_is_refused_leaves_no_answer() -> None:
    refused = Shell(Channel, "echo sudo: a password is required >&2; exit 1")
    assert refused.ask(["sh -c true"]) == [None]
    assert refused.lost


def test_a_lost_connection_leaves_no_answer() -> None:
    def fail() -> Channel:
        raise SSHException("no session")

    assert Shell(fail, "sh").ask(["sh -c true"]) == [None]


def test_a_shell_that_was_ended_opens_anew(opened: Shell) -> None:
    opened.ask(["sh -c true"])
    opened.close()
    assert opened.ask(["sh -c 'echo again'"]) == ["again\n"]


def test_a_second_question_meanwhile_is_left_to_pyinfra(opened: Shell) -> None:
    inner: list[list[Answer]] = []

    class Nested(Channel):
        def recv(self, size: int) -> bytes:
            inner.append(nested.ask(["sh -c 'echo inner'"]))
            return super().recv(size)

    nested = Shell(Nested, "exec sh")
    assert nested.ask(["sh -c 'echo outer'"]) == ["outer\n"]
    assert inner[0] == [None]
    nested.close()


def test_output_without_its_mark_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no mark"):
        framing.split(b"words and no mark", "m" * 32)


LOUD = "echo welcome; echo; echo 'last login: today >0'; exec sh"


def test_what_a_login_prints_is_no_answer() -> None:
    loud = Shell(Channel, LOUD)
    assert loud.ask(["sh -c 'echo one'", "sh -c true"]) == ["one\n", ""]
    loud.close()


def test_answers_are_in_plain_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de:fr")
    made = Shell(Channel, "exec sh")
    assert made.ask(["sh -c 'echo $LC_ALL ${LANGUAGE-none}'"]) == ["C.UTF-8 none\n"]
    made.close()


def test_a_machine_that_prints_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "ANSWER_S", 0.3)
    endless = Shell(Channel, "yes")
    assert endless.ask(["sh -c true"]) == [None]
    assert endless.lost
