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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

#: The variable that tells a worker its job, as JSON.
WORKER = "CUBE_SUITE_WORKER"
#: The folder of the package, which starts its modules by their names.
GUEST = str(Path(__file__).resolve().parents[1])
#: Seconds that a child gets to end after SIGTERM.
GRACE_S = 10.0


def say(text: str) -> None:
    """Report progress."""
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


@dataclass(frozen=True, kw_only=True)
class Worker:
    """The part of a suite that runs in a framework's environment.

    Args:
        module: its module, "suites.vllm.worker".
        python: the interpreter.
        variables: of its environment.
    """

    module: str
    python: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def argv(self) -> list[str]:
        """The command line."""
        return [self.python, "-s", GUEST, self.module]

    def environment(self, job: dict[str, Any]) -> dict[str, str]:
        """Return the variables: what the framework starts is beside its Python.

        It writes no byte code: nothing on the box changes by being checked.
        """
        path = (
            f"{Path(self.python).parent}:{os.environ.get('PATH', os.defpath)}:/usr/local/cuda/bin"
        )
        left_out = {"PYTHONPATH", "PYTHONHOME"}
        kept = {name: text for name, text in os.environ.items() if name not in left_out}
        own = {WORKER: json.dumps(job), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return kept | own | self.variables

    def having(self, **variables: str) -> "Worker":
        """Return this worker with more variables."""
        return replace(self, variables=self.variables | variables)

    def run(self, job: dict[str, Any], limit_s: float) -> Ended:
        """Run it in a session of its own, and end all that it leaves.

        Args:
            job: what it does; its results come back in the file that `result` names.
            limit_s: seconds until it is ended.
        """
        with tempfile.TemporaryDirectory(prefix="cube-suite-") as folder:
            result = Path(folder, "result.json")
            environment = self.environment(job | {"result": str(result)})
            code, log = follow(self.argv, environment, limit_s, folder)
            try:
                told = json.loads(result.read_text())
            except (OSError, ValueError):
                told = {}
        return Ended(code=code, log=log, result=told)


def start(argv: list[str], environment: dict[str, str], output: Path) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, with its output in a file and its folder there."""
    with output.open("wb") as stream:
        return subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd=output.parent,
        )


def follow(
    argv: list[str], environment: dict[str, str], limit_s: float, folder: str
) -> tuple[int | None, str]:
    """Run a program to its end or its limit, passing its progress on; return code and output."""
    output = Path(folder, "output")
    child = start(argv, environment, output)
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
