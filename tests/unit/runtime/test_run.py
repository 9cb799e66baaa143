"""Programs: results, failures, time limits, and that they die with us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cube.runtime import log, run
from cube.runtime.errors import CommandError
from tests.processes import alive


def wait_until_dead(pid: int, timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def test_output_and_exit_code_come_back() -> None:
    done = run.run(["sh", "-c", "echo out; echo err >&2; exit 3"], accept=(3,))
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_stdin_is_passed() -> None:
    assert run.run(["cat"], stdin="secret").stdout == "secret"


def test_a_failure_carries_command_code_and_output() -> None:
    with pytest.raises(CommandError, match=r"sh -c 'echo why; exit 4': exit code 4") as caught:
        run.run(["sh", "-c", "echo why; exit 4"])
    assert caught.value.returncode == 4
    assert caught.value.details == "why"


def test_a_missing_wrapper_is_named_not_what_it_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CommandError, match=r"^setpriv: program not found"):
        run.stream(["/bin/true"], on_line=print, timeout_s=5)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(CommandError, match="no-such-tool: program not found") as caught:
        run.run(["no-such-tool"])
    assert "cube doctor" in caught.value.hint


def test_a_hanging_program_is_killed() -> None:
    started = time.monotonic()
    with pytest.raises(CommandError, match="did not end within 0 s"):
        run.run(["sleep", "60"], timeout_s=0.3)
    assert time.monotonic() - started < 10


def test_undecodable_output_does_not_break() -> None:
    assert run.run(["printf", r"\377x"]).stdout.endswith("x")


def test_the_command_is_logged_as_it_could_be_pasted() -> None:
    events: list[log.Event] = []
    with log.listening(events.append):
        run.run(["echo", "two words"])
    assert events[0].text == "$ echo 'two words'"


def test_stream_reads_line_by_line_and_returns_the_code() -> None:
    lines: list[str] = []
    code = run.stream(
        ["sh", "-c", "echo a; echo b >&2; exit 7"], on_line=lines.append, timeout_s=10
    )
    assert code == 7
    assert sorted(lines) == ["a", "b"]


def test_stream_loses_no_line_at_the_end() -> None:
    lines: list[str] = []
    run.stream(["seq", "20000"], on_line=lines.append, timeout_s=30)
    assert len(lines) == 20000


def test_stream_ends_the_whole_group_on_timeout() -> None:
    lines: list[str] = []
    with pytest.raises(CommandError, match="did not end within"):
        run.stream(["sh", "-c", "sleep 60 & echo $!; wait"], on_line=lines.append, timeout_s=0.5)
    wait_until_dead(int(lines[0]))


def test_an_exception_in_the_callback_ends_the_program() -> None:
    def fail(line: str) -> None:
        raise RuntimeError(line)

    with pytest.raises(RuntimeError, match=r"\d+") as caught:
        run.stream(["sh", "-c", "echo $$; exec sleep 60"], on_line=fail, timeout_s=30)
    wait_until_dead(int(str(caught.value)))


def test_spawn_ends_a_program_that_ignores_the_polite_signal() -> None:
    command = ["sh", "-c", "trap '' TERM; sleep 60"]
    with run.spawn(command, grace_s=0.3) as process:
        pid = process.pid
    wait_until_dead(pid)


def test_a_spawned_program_dies_when_we_are_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "from cube.runtime import run; import time\n"
        f"with run.spawn(['sh', '-c', 'echo $$ > {pid_file}; exec sleep 60']): time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while not (pid_file.exists() and pid_file.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until_dead(int(pid_file.read_text()))


def test_the_end_of_one_program_is_told_while_another_goes_on() -> None:
    ended: list[int] = []
    jobs = [
        run.Job(argv=["sleep", "1.5"], on_line=lambda _: None),
        run.Job(argv=["true"], on_line=lambda _: None),
    ]

    codes = run.stream_all(jobs, timeout_s=30, on_end=ended.append)

    assert codes == [0, 0]
    assert ended == [1, 0]
