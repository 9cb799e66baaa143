"""Run a program of the box within a time limit."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

#: Seconds; no healthy program takes longer to answer.
LIMIT_S = float(os.environ.get("CUBE_LIMIT_S", "20"))
#: Seconds for a killed program to go; one that is stuck in a driver never does.
KILL_S = 2
NOT_INSTALLED, NO_ANSWER = 127, 124
#: Added to the number of the signal that ended a program. Source: bash(1), "EXIT STATUS".
SIGNALLED = 128
#: Programs that were asked and have not answered yet.
RUNNING: set["subprocess.Popen[str]"] = set()
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A program's exit code, standard output (`text`) and standard error (`complaint`)."""

    program: str
    code: int
    text: str
    complaint: str = ""

    @property
    def first(self) -> str:
        """The first line of the output that is not blank, or ""."""
        return next(iter(self.lines), "")

    @property
    def lines(self) -> list[str]:
        """The lines of both streams that are not blank; standard output comes first."""
        both = f"{self.text}\n{self.complaint}".splitlines()
        return [line.strip() for line in both if line.strip()]

    @property
    def summary(self) -> str:
        """The first line, or how it failed."""
        return self.explain() if self.code else self.first

    def explain(self) -> str:
        """Say how it failed."""
        if self.code == NOT_INSTALLED:
            return f"{self.program}: not installed"
        if self.code == NO_ANSWER:
            return f"{self.program}: {self.complaint}"
        last = self.lines[-1] if self.lines else "no output"
        return f"{self.program}: exit code {self.code}: {last}"


def environment() -> dict[str, str]:
    """Return the variables of a program: folders of the administrator on PATH, no translations.

    LANGUAGE would go before a locale of C.UTF-8. Source: GNU gettext manual, "LANGUAGE variable".
    """
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    kept = {name: value for name, value in os.environ.items() if name != "LANGUAGE"}
    return {**kept, "PATH": path, "LC_ALL": "C.UTF-8"}


def ask(*argv: str, env: Mapping[str, str] | None = None, limit_s: float | None = None) -> Answer:
    """Run a program; after `limit_s` seconds (default `LIMIT_S`) it is killed with its children."""
    limit = LIMIT_S if limit_s is None else limit_s
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment() if env is None else env,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(program=argv[0], code=NOT_INSTALLED, text="", complaint=str(error))
    RUNNING.add(process)
    try:
        text, complaint = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return Answer(program=argv[0], code=NO_ANSWER, text="", complaint=give_up(process, limit))
    finally:
        RUNNING.discard(process)
    code = process.returncode if process.returncode >= 0 else SIGNALLED - process.returncode
    return Answer(program=argv[0], code=code, text=text, complaint=complaint)


def give_up(process: "subprocess.Popen[str]", limit_s: float) -> str:
    """Kill a program that does not answer; return what to report."""
    told = f"no answer within {limit_s:g} s"
    if not end(process):
        told += f", and process {process.pid} cannot be killed: restart the machine"
    for pipe in (process.stdout, process.stderr):
        assert pipe
        pipe.close()
    return told


def end(process: "subprocess.Popen[str]", *, grace_s: float = 0) -> bool:
    """End a process with its group; False when the kernel does not let go of it."""
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
        if wait_s:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=wait_s)
    return process.poll() is not None


def end_running() -> None:
    """Kill the programs that have not answered yet, with their children."""
    for process in tuple(RUNNING):
        end(process)
