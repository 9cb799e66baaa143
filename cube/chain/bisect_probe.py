"""A command that is tried on a copy of a link."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from cube.chain.store.link import Link
from cube.machines import Endpoint, Machine, ssh
from cube.machines.boot import settle
from cube.runtime import units
from cube.runtime.errors import CommandError

#: Boots a throw-away copy of a link.
Boot = Callable[[Link], AbstractContextManager[Machine]]
Verdict = Literal["good", "bad", "untestable"]

#: Source: git-bisect(1), "Bisect run": 125 is "the current source code cannot be tested".
UNTESTABLE = 125
#: What a shell or an sshd can hand on as an exit code, and a command that left none.
ANY_CODE = (*range(256), ssh.BROKEN)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a command did on a link.

    Args:
        link: where it ran.
        code: its exit code; None when it did not end in time.
        output: what it printed.
        seconds: how long it ran.
    """

    link: Link
    code: int | None
    output: str = ""
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """Judge the exit code as `git bisect run` does."""
        if self.code == UNTESTABLE:
            return "untestable"
        return "good" if self.code == 0 else "bad"

    @property
    def text(self) -> str:
        """Say it in one line."""
        how = {None: "no end in time", ssh.BROKEN: "killed, or the connection broke"}.get(
            self.code, f"exit code {self.code}"
        )
        said = self.output.strip().splitlines()
        last = f": {said[-1].strip()}" if said and self.verdict != "good" else ""
        word = {"good": "succeeds", "bad": "fails", "untestable": "cannot tell"}[self.verdict]
        took = units.duration(self.seconds)
        return f"{self.link.name} {self.link.short}: {word} ({how}, {took}){last}"

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "name": self.link.name,
            "key": self.link.key,
            "verdict": self.verdict,
            "exit_code": self.code,
            "output": self.output,
            "seconds": round(self.seconds, 1),
        }


def attempt(link: Link, command: str, *, boot: Boot, timeout_s: float) -> Probe:
    """Boot a copy of a link and run a command on it.

    Raises:
        MachineError: it did not boot, or nobody answers.
    """
    with boot(link) as machine:
        settle(machine.endpoint)
        return run_on(machine.endpoint, link, command, timeout_s)


def run_on(endpoint: Endpoint, link: Link, command: str, timeout_s: float) -> Probe:
    """Run the command on a machine that is up; one that does not end has failed."""
    started = time.monotonic()
    try:
        done = ssh.execute(endpoint, command, accept=ANY_CODE, timeout_s=timeout_s)
    except CommandError:
        return Probe(link=link, code=None, seconds=time.monotonic() - started)
    return Probe(
        link=link,
        code=done.returncode,
        output=done.stdout + done.stderr,
        seconds=time.monotonic() - started,
    )
