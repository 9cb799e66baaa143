"""`cube bisect` on real layers: what it finds, and that nothing of it stays behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.runtime.errors import INTERRUPTED, BusyError, CubeError
from tests.integration.conftest import PROJECT, Built
from tests.integration.test_faults import commands_naming
from tests.processes import running

#: Seconds until a machine is up, and until nothing of it is left.
UP_S = 300
GONE_S = 30


def argv(built: Built, *words: str) -> list[str]:
    return [sys.executable, "-m", "cube", "bisect", "--spec", str(built.spec.file), "--", *words]


def bisect(built: Built, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv(built, *words), capture_output=True, text=True, check=False, cwd=PROJECT, timeout=UP_S
    )


def trials(built: Built) -> list[Path]:
    return list(built.work.machines.glob("trial-*"))


def assert_nothing_runs(built: Built, folder: Path) -> None:
    deadline = time.monotonic() + GONE_S
    while left := commands_naming(str(folder)):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert str(folder) not in Path("/proc/mounts").read_text()


@contextlib.contextmanager
def endless(built: Built, output: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """Start a search whose command does not end; yield it, and its machine, once that one runs."""
    command = f"sleep {os.getpid()}"
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            argv(built, command), stdout=stream, stderr=subprocess.STDOUT, cwd=PROJECT
        ) as process,
    ):
        try:
            deadline = time.monotonic() + UP_S
            while command.split() not in [words for _, words in running()]:
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.1)
            yield process, built.work.machines / f"trial-{process.pid}"
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("command", "first", "good"),
    [("! command -v cube-top", "layer5", "layer1"), ("! command -v docker", "layer1", "base")],
)
def test_the_layer_to_blame_is_found(built: Built, command: str, first: str, good: str) -> None:
    done = bisect(built, command)
    assert done.returncode == 0, done.stderr
    assert f"the first bad layer is {first} {built.store.named(first).short}" in done.stdout
    assert f"cube rollback {good}" in done.stdout
    assert not trials(built)


@pytest.mark.parametrize(
    ("command", "told"),
    [("true", "it succeeds everywhere"), ("no-such-tool", "it fails already at base")],
)
def test_where_there_is_nothing_to_find_it_says_so(built: Built, command: str, told: str) -> None:
    done = bisect(built, command)
    assert done.returncode == CubeError.exit_code
    assert told in done.stderr
    assert not trials(built)


def test_ctrl_c_leaves_nothing(built: Built, tmp_path: Path) -> None:
    with endless(built, tmp_path / "output") as (process, folder):
        with pytest.raises(BusyError):  # what it reads stays where it is
            built.store.remove([built.store.named("layer5")])
        process.send_signal(signal.SIGINT)
        assert process.wait(GONE_S) == INTERRUPTED
    assert not folder.exists()
    assert_nothing_runs(built, folder)


def test_kill_9_leaves_nothing_running_and_the_next_search_clears(
    built: Built, tmp_path: Path
) -> None:
    with endless(built, tmp_path / "output") as (_, folder):
        pass  # its end is SIGKILL
    assert_nothing_runs(built, folder)
    assert folder.exists()
    done = bisect(built, "true")
    assert f"removed leftovers of an earlier run: machine {folder.name}" in done.stderr
    assert not trials(built)
