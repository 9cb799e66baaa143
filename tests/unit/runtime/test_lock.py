"""One build at a time; many readers, or one that removes what they read."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.runtime import lock
from cube.runtime.errors import BusyError

HOLD = """
import signal, sys
from pathlib import Path
from cube.runtime import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    signal.pause()
"""
READ = HOLD.replace("lock.held", "lock.shared")


@contextlib.contextmanager
def holder(program: str, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds a lock; it is killed in the end."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_holder_is_refused_with_the_pid(tmp_path: Path) -> None:
    path = tmp_path / "debian-13" / "lock"
    with holder(HOLD, path) as process:
        with pytest.raises(BusyError, match=rf"pid {process.pid}\)"), lock.held(path):
            pass
        process.kill()
        process.wait()
    started = time.monotonic()
    with lock.held(path):  # the kernel has let go, nothing stale is left
        assert path.read_text() == f"{os.getpid()}\n"
    assert time.monotonic() - started < 5


def test_the_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with lock.held(tmp_path / "lock"):
            pass


def test_many_may_share_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "chain" / ".reading"
    taken = pytest.raises(BusyError, match="another command reads the links")
    with lock.shared(path), lock.shared(path), taken, lock.exclusive(path):
        pytest.fail("it is held")
    with lock.exclusive(path):
        pass


def test_nobody_shares_what_one_has_for_itself(tmp_path: Path) -> None:
    path = tmp_path / ".reading"
    for taking in (lock.shared, lock.exclusive):
        with lock.exclusive(path), pytest.raises(BusyError), taking(path):
            pytest.fail("it is held")
    with lock.shared(path):
        pass


def test_a_reader_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".reading"
    with holder(READ, path) as reader:
        with pytest.raises(BusyError), lock.exclusive(path):
            pytest.fail("it is held")
        reader.kill()
        reader.wait()
        with lock.exclusive(path):
            pass


def test_a_program_that_we_start_does_not_hold_our_lock(tmp_path: Path) -> None:
    path, argv = tmp_path / "lock", [sys.executable, "-c", "input()"]
    with lock.held(path):
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True)
    with lock.held(path):
        assert child.poll() is None
    child.communicate("\n")


def test_a_lock_is_held_on_a_disk_that_has_no_room_for_the_pid() -> None:
    with Path("/dev/full").open("w") as full, pytest.raises(OSError, match="No space left"):
        os.write(full.fileno(), b"1")
    with Path("/dev/full").open("w") as full:
        lock.tell_pid(full.fileno())


def test_another_obstacle_to_writing_the_pid_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as stream, pytest.raises(OSError, match="Bad file descriptor"):
        lock.tell_pid(stream.fileno())
