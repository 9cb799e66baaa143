"""Judge a machine, or a sealed image, with the checks in ``checks/``.

pytest runs as a program and its report log says what happened. Silence is no pass: a run that
judged nothing, or broke off, is an error.
"""

import contextlib
import json
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from cube.config import Spec
from cube.config.layers import link_name
from cube.machines import Endpoint, address
from cube.runtime import log, run
from cube.runtime.check_report import CheckReport, crash_line, is_broken_collection, read_checks
from cube.runtime.errors import CheckError

#: The folder above ``checks/``.
PROJECT = Path(__file__).resolve().parents[2]
#: What pytest prints once it knows how much there is to do.
SELECTED = re.compile(r"collected (\d+) items?(?: .* (\d+) selected)?")
#: Seconds for one run; a guest without KVM takes three minutes for the largest layer.
TIMEOUT_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class CheckRun:
    """A run of pytest over a machine that is up, or an image that is mounted.

    Args:
        target: where sshd answers, or the mounted root of an image.
        select: files and folders of checks, such as ``checks/layer1``.
        spec_file: the cube.toml that says what is expected.
        results_dir: gets ``NAME.jsonl``, the report log of pytest.
        name: what the run is called.
        marker: a pytest marker expression; empty takes all that is selected.
    """

    target: Endpoint | Path
    select: Sequence[str]
    spec_file: Path
    results_dir: Path
    name: str
    marker: str = ""

    @property
    def report_log(self) -> Path:
        """Where pytest reports."""
        return self.results_dir / f"{self.name}.jsonl"


def layer_checks(spec: Spec, layer: int, target: Endpoint, results_dir: Path) -> CheckRun:
    """Describe the run of a layer's checks on what is up."""
    name = link_name(layer)
    return CheckRun(
        target=target,
        select=["checks"],
        marker=name,
        name=name,
        spec_file=spec.file,
        results_dir=results_dir,
    )


def run_checks(one: CheckRun, *, timeout_s: float = TIMEOUT_S) -> CheckReport:
    """Judge one machine or image.

    Args:
        one: what is judged by which checks.
        timeout_s: seconds after which the run is ended.

    Returns:
        Every check; none of them failed, and at least one passed.

    Raises:
        CheckError: a check failed or was skipped, none ran, or pytest itself failed.
        CommandError: the run took too long.
    """
    return run_side_by_side([one], timeout_s=timeout_s)[0]


def run_side_by_side(
    runs: Sequence[CheckRun],
    *,
    timeout_s: float = TIMEOUT_S,
    on_end: Callable[[int], None] = lambda _: None,
) -> list[CheckReport]:
    """Judge several machines at once; returns and raises as `run_checks`, for each of them.

    Args:
        runs: what is judged by which checks.
        timeout_s: seconds after which they are ended.
        on_end: called with the place of each run that has ended.
    """
    with contextlib.ExitStack() as stack:
        followed = [stack.enter_context(following(one)) for one in runs]
        # SIGINT, not SIGTERM: pytest then closes its SSH connections.
        codes = run.stream_all(
            [job for job, _ in followed],
            timeout_s=timeout_s,
            stop_with=signal.SIGINT,
            on_end=on_end,
        )
    return [
        finish(one, code, follower)
        for one, code, (_, follower) in zip(runs, codes, followed, strict=True)
    ]


@contextlib.contextmanager
def following(one: CheckRun) -> Iterator[tuple[run.Job, "Follower"]]:
    """Yield a run's program, and what follows its report while it runs."""
    one.results_dir.mkdir(parents=True, exist_ok=True)
    one.report_log.write_text("")
    env = {"PYTEST_ADDOPTS": "", "PYTHONDONTWRITEBYTECODE": "1"}
    with one.report_log.open() as lines:
        follower = Follower(lines)
        argv = pytest_args(one)
        yield run.Job(argv=argv, on_line=follower.follow, cwd=PROJECT, env=env), follower


def finish(one: CheckRun, code: int, follower: "Follower") -> CheckReport:
    """Conclude a run that has ended."""
    entries = one.report_log.read_text().splitlines()
    report = conclude(code, entries, "\n".join(follower.output), name=one.name)
    log.info(f"checks {one.name}: {report.summary}")
    return report


def pytest_args(one: CheckRun) -> list[str]:
    """Return the command line of a run."""
    target = one.target
    place = f"--root={target}" if isinstance(target, Path) else f"--hosts={address.of(target).url}"
    return [
        sys.executable,
        "-m",
        "pytest",
        *one.select,
        place,
        f"--spec={one.spec_file.absolute()}",
        f"--report-log={one.report_log.absolute()}",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        "-v",
        *(["-m", one.marker] if one.marker else []),
    ]


@dataclass
class Follower:
    """Reads a report log while it grows and says which check has ended."""

    lines: TextIO
    seen: int = 0
    total: str = ""
    rest: str = field(default="", repr=False)
    output: list[str] = field(default_factory=list, repr=False)

    def follow(self, line: str) -> None:
        """Report what was added since the last call; `line` is what pytest printed."""
        log.debug(line)
        self.output.append(line)
        selected = SELECTED.search(line)
        if selected:
            self.total = selected[2] or selected[1]
        if not self.total:  # on busy cores the log may be ahead of what was printed
            return
        *whole, self.rest = (self.rest + self.lines.read()).split("\n")
        for entry in map(json.loads, filter(None, whole)):
            if entry.get("$report_type") == "TestReport" and entry["when"] == "teardown":
                self.seen += 1
                title = dict(entry["user_properties"]).get("title", entry["nodeid"])
                log.status(f"check {self.seen} of {self.total}: {title}")


def conclude(code: int, lines: Iterable[str], output: str, *, name: str) -> CheckReport:
    """Turn pytest's exit code and report log into a report, or say what is wrong.

    Args:
        code: exit code of pytest.
        lines: its report log.
        output: what it printed.
        name: what the run is called.

    Raises:
        CheckError: see `run_checks`.
    """
    entries = [json.loads(line) for line in lines if line.strip()]
    broken = [entry for entry in entries if is_broken_collection(entry)]
    if broken:
        raise CheckError(
            f"the checks of {name} cannot be loaded: {broken[0]['nodeid']}",
            hint="correct the file; its error is below",
            details="\n".join(crash_line(entry) for entry in broken),
        )
    report = CheckReport(checks=read_checks(entries))
    refuse_failures(report, name)
    refuse_exit_code(code, output, name)
    if not report.having("passed"):
        raise CheckError(f"the checks of {name} passed nothing: {report.summary}")
    return report


def refuse_failures(report: CheckReport, name: str) -> None:
    """Name every check that failed.

    Raises:
        CheckError: there is one.
    """
    failed = report.having("failed")
    if not failed:
        return
    again = failed[0].id.split("[")[0]
    place = "--root=PATH" if failed[0].evidence == "image" else "--hosts=NAME"
    raise CheckError(
        f"{len(failed)} of {len(report.checks)} checks of {name} failed: {failed[0].title}",
        hint=f"fix it and run this check alone: pytest {again} {place}",
        details="\n".join(f"{check.title} [{check.id}]: {check.reason}" for check in failed),
    )


def refuse_exit_code(code: int, output: str, name: str) -> None:
    """Accept only pytest's success: a run that broke off has judged nothing.

    Source: https://docs.pytest.org/en/stable/reference/exit-codes.html

    Raises:
        CheckError: it is any other code.
    """
    if code == 0:
        return
    meanings = {
        1: "it reports a failure that its log does not have",
        2: "it was interrupted",
        3: "it crashed",
        4: "it cannot start",
        5: "no check ran",
    }
    meaning = meanings.get(code, "it was killed" if code < 0 else "unknown to us")
    errors = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    raise CheckError(
        f"the checks of {name} did not run to their end: pytest exited with code {code}: {meaning}",
        hint="the lines below say why" if output.strip() else "",
        details="\n".join(errors) or run.tail(output),
    )
