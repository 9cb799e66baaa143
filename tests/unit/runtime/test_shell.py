"""Tests of cube.runtime.shell, on this machine's own shell."""

import signal
import time
from collections.abc import Iterator

import pytest

from cube.runtime.errors import CommandError
from cube.runtime.shell import Shell


@pytest.fixture
def shell() -> Iterator[Shell]:
    opened = Shell(["/bin/sh"])
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("command", "code", "stdout", "stderr"),
    [
        ("echo one; echo two >&2", 0, b"one\n", b"two\n"),
        ("exit 7", 7, b"", b""),
        ("printf 'no newline'", 0, b"no newline", b""),
        ("printf '\\000\\377'", 0, b"\x00\xff", b""),
        ("cat", 0, b"", b""),
        ('echo "it\'s 100% $((1 + 1))"', 0, b"it's 100% 2\n", b""),
        ("echo a\necho b", 0, b"a\nb\n", b""),
    ],
)
def test_a_command_comes_back_whole(
    shell: Shell, command: str, code: int, stdout: bytes, stderr: bytes
) -> None:
    answer = shell.run(command)

    assert (answer.returncode, answer.stdout, answer.stderr) == (code, stdout, stderr)
    assert not answer.lost


def test_mistakes_in_syntax_do_not_reach_the_next_command(shell: Shell) -> None:
    assert shell.run("if then 'open quote").returncode == 2
    assert shell.run("echo still here").stdout == b"still here\n"


def test_nothing_is_carried_from_one_command_to_the_next(shell: Shell) -> None:
    shell.run("cd /usr; WORD=left; umask 077")

    assert shell.run('pwd; echo "[$WORD]"; umask').stdout != b"/usr\n[left]\n0077\n"


def test_large_outputs_on_both_streams_do_not_block(shell: Shell) -> None:
    answer = shell.run("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")

    assert (len(answer.stdout), len(answer.stderr)) == (3_000_000, 3_000_000)


def test_a_shell_is_started_once(shell: Shell) -> None:
    assert shell.run("echo $PPID").stdout == shell.run("echo $PPID").stdout


def test_a_shell_that_dies_is_lost_and_the_next_command_opens_another(shell: Shell) -> None:
    first = shell.run("echo before; kill -9 $PPID")

    assert first.lost
    assert first.returncode == -signal.SIGKILL
    assert shell.run("echo again").stdout == b"again\n"


def test_a_shell_that_is_refused_says_why() -> None:
    answer = Shell(["/bin/sh", "-c", "echo denied >&2; exit 255"]).run("true")

    assert (answer.lost, answer.returncode, answer.stderr) == (True, 255, b"denied\n")


def test_a_shell_that_cannot_be_started_is_named() -> None:
    answer = Shell(["/no-such-program"]).run("true")

    assert (answer.lost, answer.returncode) == (True, 127)
    assert b"/no-such-program" in answer.stderr


def test_an_interruption_leaves_nothing_of_its_answer(shell: Shell) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    started = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            shell.run("sleep 20; echo late")
    finally:
        signal.signal(signal.SIGALRM, before)

    assert time.monotonic() - started < 10
    assert shell.run("echo next").stdout == b"next\n"


@pytest.mark.parametrize("loud", ["echo welcome; echo careful >&2", "printf 'no end'"])
def test_what_a_login_prints_is_no_answer(loud: str) -> None:
    opened = Shell(["/bin/sh", "-c", f"{loud}; exec /bin/sh"])
    answer = opened.run("echo one; echo two >&2")
    opened.close()
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"one\n", b"two\n")


def test_a_shell_that_repeats_its_commands_is_understood() -> None:
    opened = Shell(["/bin/sh", "-x"])
    answer = opened.run("echo one; exit 3")
    opened.close()
    assert (answer.returncode, answer.stdout) == (3, b"one\n")


def test_outputs_are_in_plain_english() -> None:
    opened = Shell(["/usr/bin/env", "LC_ALL=de_DE.UTF-8", "LANGUAGE=de", "/bin/sh"])
    assert opened.run("echo $LC_ALL ${LANGUAGE-none}").stdout == b"C.UTF-8 none\n"
    opened.close()


@pytest.mark.parametrize("command", ["sleep 60", "yes"])
def test_a_command_that_does_not_end_is_given_up(shell: Shell, command: str) -> None:
    with pytest.raises(CommandError, match="did not end within 0 s"):
        shell.run(command, timeout_s=0.4)
    assert shell.run("echo next").stdout == b"next\n"
