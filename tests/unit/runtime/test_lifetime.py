"""Programs that end with their owner."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cube.runtime import lifetime

PROJECT = Path(__file__).parents[3]

#: Starts a wrapped program, tells its number, and is then killed.
OWNER = """
import subprocess, sys
from cube.runtime import lifetime
child = subprocess.Popen(lifetime.{way}, stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
"""


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_owner(way: str) -> int:
    """Start a program by one that is killed; return its number."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER.format(way=way)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        while Path(f"/proc/{pid}/comm").read_text().strip() in {"python", "python3", "setpriv"}:
            time.sleep(0.05)
        owner.kill()
    return pid


def test_a_program_ends_with_its_parent() -> None:
    pid = kill_owner("with_parent(['sleep', '1000'])")
    wait_until(lambda: not is_running(pid))


def test_an_action_follows_the_end_of_the_owner(tmp_path: Path) -> None:
    done = tmp_path / "it's done"
    kill_owner(f"after_owner('touch \"$1\"', {str(done)!r})")
    wait_until(done.exists)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes PID namespaces")
def test_what_a_program_started_ends_with_it(tmp_path: Path) -> None:
    script = "sleep 1234 & readlink /proc/self/ns/pid; wait"
    argv = lifetime.with_descendants(["sh", "-c", script])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        namespace = process.stdout.readline().strip()
        process.kill()
    wait_until(lambda: namespace not in namespaces())


def namespaces() -> set[str]:
    """Return the PID namespaces that have processes."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue
    return found
