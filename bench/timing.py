"""Times of commands, taken by hyperfine, and what repeated runs come to."""

import json
import os
import platform
import statistics
import tempfile
from collections import defaultdict
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
    """One run: processor time of the command and its children, load before, all it printed."""

    seconds: float
    cpu_s: float = 0.0
    load: float = 0.0
    output: str = ""


class Runs(defaultdict[tuple[Any, ...], list[Timing]]):
    """Runs by a key that says what was run."""

    def __init__(self) -> None:
        super().__init__(list)

    def seconds(self, *key: object) -> list[float]:
        """Return the times of a key; none if it was not run."""
        return [one.seconds for one in self.get(key, [])]

    def spread(self, *key: object) -> str:
        """Return the times of a key as text: median (least-most, runs)."""
        seconds = self.seconds(*key)
        if not seconds:
            return ""
        extremes = f"{min(seconds):.2f}-{max(seconds):.2f}, " if len(seconds) > 1 else ""
        return f"{statistics.median(seconds):.2f} ({extremes}{len(seconds)})"

    def ratio(self, over: Sequence[object], under: Sequence[object]) -> float | None:
        """Return the median of a key over that of another; None if either was not run."""
        one, other = self.seconds(*over), self.seconds(*under)
        return statistics.median(one) / statistics.median(other) if one and other else None

    def where(self) -> dict[str, object]:
        """Describe this machine, and its load before the runs."""
        loads = [one.load for some in self.values() for one in some] or [0.0]
        return {
            "processors": os.cpu_count(),
            "virtual machines by": accelerator.find(),
            "kernel": platform.release(),
            "Python": platform.python_version(),
            "load of the machine": f"{min(loads):.1f}-{max(loads):.1f}",
            "commit": commit(),
        }


def commit() -> str:
    """Name the commit that is measured; empty outside a checkout. The page itself is no change."""
    git = ["git", "-c", f"safe.directory={PROJECT}", "-C", str(PROJECT)]
    head = run.run([*git, "rev-parse", "--short", "HEAD"], accept=(0, 128)).stdout.strip()
    diff = run.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!docs"], accept=(0, 1, 128, 129))
    return f"{head}{' with changes' if diff.returncode == 1 else ''}"


def timed(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = PROJECT,
    stdin: str = "",
    limit_s: float = LIMIT_S,
) -> Timing:
    """Run a command once under hyperfine, so that those of several alternate; it must succeed."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cube-bench-") as folder:
        given, printed, result = (Path(folder) / name for name in ("in", "out", "json"))
        given.write_text(stdin)
        hyperfine = ["hyperfine", "--style=none", "--runs=1", "--shell=sh", "--ignore-failure"]
        command = f"{run.quote(argv)} >{printed} 2>&1 <{given}"
        argv_timed = [*hyperfine, f"--export-json={result}", command]
        run.run(argv_timed, env=env, cwd=cwd, timeout_s=limit_s)
        (found,) = json.loads(result.read_text())["results"]
        output = printed.read_text(errors="replace")
    if found["exit_codes"] != [0]:
        raise CubeError(f"{run.quote(argv[:3])} ... failed", details=run.tail(output, 40))
    cpu_s = found["user"] + found["system"]
    return Timing(seconds=found["mean"], cpu_s=cpu_s, load=load, output=output)


def turns(names: Sequence[str], rounds: int) -> list[str]:
    """Return names once a round, each round beginning with another one.

    A disturbance of some seconds then affects all of them alike.
    """
    starts = [turn % len(names) for turn in range(rounds)]
    return [name for at in starts for name in (*names[at:], *names[:at])]
