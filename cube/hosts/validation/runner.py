"""Runs one suite on a box: within its time, with all its children ended, its words kept."""

import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cube.hosts import remote
from cube.hosts.target import Box
from cube.hosts.validation import result
from cube.hosts.validation.catalog import Suite
from cube.hosts.validation.result import SuiteResult
from cube.machines import ssh
from cube.runtime import log
from cube.runtime.errors import CommandError, MachineError

#: The transient unit that a suite runs in; there is one of it on a box.
UNIT = "cube-suite"
#: Share of the box's memory that a suite may take: what is left keeps the box usable.
MEMORY = "90%"
#: Seconds beyond a suite's limit until it is given up from here.
SLACK_S = 60.0
#: Seconds that its processes have to end by themselves at the limit.
STOP_S = 10
#: Seconds that a box may take to come back after a restart of its own.
BACK_S = 180.0
#: Lines of output that are kept.
KEPT_LINES = 200
#: Precedes the suite's object in what the box sends: all else is for people.
MARK = "cube-suite-result "

#: What systemd-run says of a unit's end. Source: systemd-run(1), --wait
ENDED = re.compile(r"Finished with result: (?P<result>[a-z-]+)")

#: What else it says. Source: as above
CHATTER = ("Running as unit:", "Main processes terminated with:", "Service runtime:", "CPU time")

#: What a unit's result means. Source: systemd.service(5), $SERVICE_RESULT
RESULTS = {
    "timeout": "it did not end within {limit} s, and was ended with all its children",
    "oom-kill": "out of memory: it wanted more than {memory} of the box's, and was ended",
    "signal": "it was killed by a signal",
    "core-dump": "it crashed",
}


@dataclass
class Listener:
    """Sorts what a suite prints: its object, the end of its unit, and words for people."""

    suite: Suite
    lines: list[str] = field(default_factory=list)
    text: str = ""
    ended: str = ""

    def hear(self, line: str) -> None:
        """Take one line."""
        if line.startswith(MARK):
            self.text = line.removeprefix(MARK)
            return
        found = ENDED.search(line)
        if found:
            self.ended = found["result"]
        if not line.strip() or line.startswith(CHATTER):
            return
        self.lines = [*self.lines, line][-KEPT_LINES:]
        if found:
            return
        log.status(f"{self.suite.title}: {line.removeprefix('... ')}")

    @property
    def output(self) -> str:
        """What it printed for people."""
        return "\n".join(self.lines)


def run_suite(box: Box, suite: Suite, *, quick: bool, arguments: tuple[str, ...]) -> SuiteResult:
    """Run a suite and return what it found.

    Args:
        box: that lets us in.
        suite: which.
        quick: in its short form.
        arguments: for it, beside those that it always has.

    Returns:
        Its result; `error` when it hung, crashed, ran out of memory or is not on the box.

    Raises:
        MachineError: the connection broke.
    """
    boot, started = remote.boot_id(box), time.monotonic()
    listener = Listener(suite)
    words = command(suite, quick=quick, arguments=arguments)
    limit_s = suite.limit(quick=quick)
    code = follow(box, render_script(words, limit_s=limit_s), listener.hear, limit_s=limit_s)
    seconds = time.monotonic() - started
    if code == ssh.FAILED and not listener.ended:
        raise lost(box, suite, boot, seconds)
    return conclude(listener, code, quick=quick, seconds=seconds)


def command(suite: Suite, *, quick: bool, arguments: tuple[str, ...] = ()) -> list[str]:
    """Return the command line of a suite on the box."""
    short = ["--quick"] if quick else []
    return [suite.path, "--json", *suite.arguments, *short, *arguments]


def conclude(listener: Listener, code: int, *, quick: bool, seconds: float) -> SuiteResult:
    """Return the result of a suite that has ended.

    Args:
        listener: that heard what it printed.
        code: exit code of the script that `render_script` made.
        quick: whether it ran in its short form.
        seconds: how long it ran.
    """
    suite = listener.suite
    broken = explain(listener.ended, code, suite, limit_s=suite.limit(quick=quick))
    if broken:
        return result.broken(suite.name, broken, seconds=seconds, output=listener.output)
    return result.parse(suite.name, listener.text, code, seconds=seconds, output=listener.output)


def render_script(words: list[str], *, limit_s: int) -> str:
    """Return the script that runs a suite on the box, as root.

    The object that it prints comes back as one line: base64 would be as safe, and not readable.
    """
    unit = shlex.join(
        [
            "systemd-run",
            "--pipe",
            "--wait",
            "--collect",
            f"--unit={UNIT}",
            "--service-type=exec",
            f"--property=RuntimeMaxSec={limit_s}",
            f"--property=TimeoutStopSec={STOP_S}",
            "--property=KillMode=control-group",
            "--property=OOMPolicy=kill",
            f"--property=MemoryMax={MEMORY}",
            "--property=MemorySwapMax=0",
            "--setenv=LC_ALL=C.UTF-8",
            "--setenv=HF_HUB_OFFLINE=1",
            "--setenv=HOME=/root",
            "--working-directory=/",
            "--",
            *words,
        ]
    )
    return (
        # One stream keeps its order: two may be mixed within a line on their way here.
        f"exec 2>&1; out=$(mktemp); trap 'rm -f \"$out\"' EXIT\n"
        f"test -x {shlex.quote(words[0])} || exit 127\n"
        f'{unit} </dev/null >"$out"; code=$?\n'
        f"printf '\\n{MARK}'; tr '\\n' ' ' <\"$out\"; echo\n"
        f"exit $code\n"
    )


def follow(box: Box, script: str, hear: Callable[[str], None], *, limit_s: int) -> int:
    """Run the script and hear each line; return its exit code.

    Raises:
        CommandError: not even the box's own limit ended it.
    """
    try:
        answer = remote.ask(box, script, timeout_s=limit_s + STOP_S + SLACK_S, on_line=hear)
    except BaseException:
        stop(box)  # Ctrl-C, or a box that hangs: nothing of ours goes on there
        raise
    if answer.lost:
        hear(remote.last_line(answer))
    return ssh.FAILED if answer.lost else answer.returncode


def end_orphan(box: Box) -> None:
    """End a suite that a killed validation left running; whoever calls it holds the lock."""
    script = f"systemctl is-active --quiet {UNIT}.service && systemctl stop {UNIT}.service"
    if remote.execute(box, script, accept=range(ssh.FAILED), timeout_s=60).returncode == 0:
        log.warning(f"{box.name}: stopped a suite that an earlier, killed validation left running")


def stop(box: Box) -> None:
    """End the suite that runs on a box, as far as the box answers."""
    try:
        remote.execute(box, f"systemctl stop {UNIT}.service 2>&1 || true", timeout_s=30)
    except (CommandError, MachineError) as error:
        log.warning(f"{box.name}: {UNIT}.service may still run there: {error.message}")


def explain(ended: str, code: int, suite: Suite, *, limit_s: int) -> str:
    """Say why a suite came to no result; empty when it did."""
    if ended in RESULTS:
        return RESULTS[ended].format(limit=limit_s, memory=MEMORY)
    if code == 127 and not ended:  # noqa: PLR2004 (sh's code for a command that is not there)
        return f"{suite.path} is not on the box: apply layer 5 (cube apply HOST --layers 5)"
    return ""


def lost(box: Box, suite: Suite, boot: str, seconds: float) -> MachineError:
    """Build the error for a connection that broke, after looking whether the box restarted."""
    what = f"{box.name}: the connection broke {seconds:.0f} s into {suite.title}"
    try:
        again = remote.wait_for_boot(box, other_than="", timeout_s=BACK_S)
    except (MachineError, CommandError) as error:
        return MachineError(
            f"{what}, and it does not answer", hint="look at its console", details=error.message
        )
    if again != boot:
        return MachineError(
            f"{what}: the host restarted unexpectedly",
            hint="its last log lines: journalctl --boot=-1 --lines=50; power supply and Xid lines"
            " are the first suspects",
        )
    return MachineError(f"{what}, although the host did not restart", hint="look at the network")
