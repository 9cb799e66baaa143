"""Times of commands, taken by hyperfine, and what repeated runs come to."""

import json
import os
import platform
import shlex
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube.machines.qemu import accelerator
from cube.runtime import run
from cube.runtime.errors import CubeError

#: The checkout that is measured.
PROJECT = Path(__file__).resolve().parents[1]
#: Seconds for one run of a command.
LIMIT_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One run of a command: processor time of it and its children, load before, all it printed."""

    seconds: float
    cpu_s: float
    load: float
    output: str


def timed(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = PROJECT,
    stdin: str = "",
    limit_s: float = LIMIT_S,
) -> Timing:
    """Run a command once under hyperfine, so that runs of several commands can alternate."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cube-bench-") as folder:
        given, printed, result = (Path(folder) / name for name in ("in", "out", "json"))
        given.write_text(stdin)
        command = f"{run.quote(argv)} >{printed} 2>&1 <{given}"
        hyperfine = ["hyperfine", "--style=none", "--runs=1", "--shell=sh"]
        done = run.run(
            [*hyperfine, f"--export-json={result}", command],
            env=env,
            cwd=cwd,
            timeout_s=limit_s,
            accept=(0, 1),
        )
        output = printed.read_text(errors="replace") if printed.exists() else done.stderr
        if done.returncode or not result.exists():
            words = shlex.join(str(word) for word in argv[:3])
            raise CubeError(f"{words} ... failed", details=run.tail(output, 40))
        (found,) = json.loads(result.read_text())["results"]
    cpu_s = found["user"] + found["system"]
    return Timing(seconds=found["mean"], cpu_s=cpu_s, load=load, output=output)


def turns(names: Sequence[str], rounds: int) -> list[list[str]]:
    """Return the order of each round: each name once, each round beginning with another name.

    A disturbance of some seconds then affects all of them alike.
    """
    starts = [turn % len(names) for turn in range(rounds)]
    return [[*names[at:], *names[:at]] for at in starts]


def spread(seconds: Sequence[float]) -> str:
    """Return repeated times as text: median (least-most, runs)."""
    median = statistics.median(seconds)
    if len(seconds) == 1:
        return f"{median:.2f} (1)"
    return f"{median:.2f} ({min(seconds):.2f}-{max(seconds):.2f}, {len(seconds)})"


def ratio(over: Sequence[float], under: Sequence[float]) -> float | None:
    """Return one median over another; None if either was not measured."""
    if not over or not under:
        return None
    return statistics.median(over) / statistics.median(under)


def host() -> dict[str, Any]:
    """Describe this machine."""
    return {
        "processors": os.cpu_count(),
        "virtual machines by": accelerator.find(),
        "kernel": platform.release(),
        "Python": platform.python_version(),
    }
