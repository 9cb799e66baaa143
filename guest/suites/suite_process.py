"""The processes of a suite: workers in a framework's environment, and how all of them end."""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = "CUBE_SUITE_WORKER"
#: Seconds that a child gets to end after SIGTERM.
GRACE_S = 10.0


def say(text: str) -> None:
    """Tell of progress."""
    print(f"... {text}", file=sys.stderr, flush=True)


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends. Source: PR_SET_PDEATHSIG(2const)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def raise_on_signals() -> None:
    """Turn signals that end a program into an exception, so that children are ended."""
    ending = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def leave(number: int, _frame: object) -> None:
        for one in ending:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)

    for one in ending:
        signal.signal(one, leave)


def adopt_orphans() -> None:
    """Become the parent of what children leave behind. Source: PR_SET_CHILD_SUBREAPER(2const)."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def family() -> list[int]:
    """Return all processes that come from this one, but for the sampler's nvidia-smi."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            head, _, tail = (folder / "stat").read_bytes().rpartition(b")")
            state, parent = tail.split()[:2]
            if state not in b"ZX" and not head.endswith(b"(nvidia-smi"):
                parents[int(folder.name)] = int(parent)
    found = [os.getpid()]
    for one in found:
        found.extend(pid for pid, parent in parents.items() if parent == one and pid not in found)
    return found[1:]


def end_family() -> bool:
    """End all processes that come from this one; return whether SIGTERM was enough."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        for pid in family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while family() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not family():
            return number == signal.SIGTERM
    return False


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A child that ended; `code` is None when it was ended for taking too long."""

    code: int | None
    log: str
    result: dict[str, Any]

    @property
    def fault(self) -> str:
        """What went wrong, in one line."""
        if self.code is None:
            return f"hung: no end within its limit; last: {last_line(self.log)}"
        return str(self.result.get("error") or f"exit code {self.code}: {last_line(self.log)}")


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.match(r"(?:\[.*\]:?)?\s*[\w.]*(Error|Exception)\b", line)
    ]
    return (errors or lines or ["no output"])[-1]


def run_worker(
    program: str, python: str, job: dict[str, Any], limit_s: float, **more: str
) -> Ended:
    """Run a suite's own file as a worker in a session of its own, and end all that it leaves.

    Args:
        program: the file; the variable `WORKER` tells it its job.
        python: the interpreter.
        job: what it does; its results come back in the file that `result` names.
        limit_s: seconds until it is ended.
        more: variables of its environment.
    """
    with tempfile.TemporaryDirectory(prefix="cube-suite-") as folder:
        result = Path(folder, "result.json")
        environment = worker_environment(python, job | {"result": str(result)}) | more
        argv = [python, "-s", str(Path(program).resolve())]
        code, log = follow(argv, environment, limit_s, folder)
        try:
            told = json.loads(result.read_text())
        except (OSError, ValueError):
            told = {}
    return Ended(code=code, log=log, result=told)


def worker_environment(python: str, job: dict[str, Any]) -> dict[str, str]:
    """Return the variables of a worker: what its framework starts is beside its Python.

    It writes no byte code: nothing on the box changes by being judged.
    """
    path = f"{Path(python).parent}:{os.environ.get('PATH', os.defpath)}:/usr/local/cuda/bin"
    kept = {
        name: text for name, text in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}
    }
    return kept | {WORKER: json.dumps(job), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def follow(
    argv: list[str], environment: dict[str, str], limit_s: float, folder: str
) -> tuple[int | None, str]:
    """Run a program to its end or its limit, passing its progress on; return code and output."""
    output = Path(folder, "output")
    with output.open("wb") as stream:
        child = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd=folder,
        )
    deadline, seen = time.monotonic() + limit_s, 0
    try:
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
            seen += pass_on(output, seen)
        code = child.poll()
    finally:
        end_family()
        child.wait()
    pass_on(output, seen)
    return code, output.read_text(errors="replace")


def pass_on(output: Path, start: int) -> int:
    """Print the whole lines of progress after a position; return how much was looked at."""
    with output.open("rb") as stream:
        stream.seek(start)
        whole, newline, _ = stream.read().rpartition(b"\n")
    for line in whole.decode(errors="replace").splitlines():
        if line.startswith("... "):
            say(line[4:])
    return len(whole + newline)


def hand_back(job: dict[str, Any], result: dict[str, Any]) -> None:
    """Give a worker's results to the parent, whole or not at all."""
    part = Path(f"{job['result']}.{os.getpid()}")
    part.write_text(json.dumps(result))
    part.rename(job["result"])
