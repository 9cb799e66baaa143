"""One build at a time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cube import lock
from cube.errors import BusyError

HOLD = """
import sys, time
from pathlib import Path
from cube import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_refused_with_the_pid(tmp_path: Path) -> None:
    path = tmp_path / "debian-13" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match=rf"pid {holder.pid}\)"), lock.held(path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    started = time.monotonic()
    with lock.held(path):  # the kernel has let go, nothing stale is left
        assert path.read_text() == f"{os.getpid()}\n"
    assert time.monotonic() - started < 5


def test_the_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with lock.held(tmp_path / "lock"):
            pass
