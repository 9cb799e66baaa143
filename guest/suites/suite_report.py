"""What a suite says of a box: its checks, its exit code, its command line."""

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite_process import adopt_orphans, raise_on_signals

ROOT = os.environ.get("CUBE_ROOT", "")
#: Exit codes. Source: guest/checking/report.py.
EXIT_CODES = {"pass": 0, "fail": 1, "not_run": 77}
EXIT_CANNOT_RUN = 2


class NotRun(Exception):
    """The suite does not apply to this box."""


class CannotRun(Exception):
    """The suite applies, and cannot be run."""


class Stop(Exception):
    """A check failed on which the rest depends."""


@dataclass(kw_only=True)
class Report:
    """What is said of a box; `names` is the whole set of checks, in their order."""

    check: str
    names: tuple[str, ...]
    quiet: bool
    evidence: str = "cpu"
    checks: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def add(
        self, status: str, name: str, detail: str, number: tuple[float, float, str] | None = None
    ) -> None:
        """Add a check; `number` is its value, its limit and their unit."""
        assert name in self.names, name
        assert name not in self.said(), name
        entry: dict[str, Any] = {"name": name, "status": status, "detail": one_line(detail)}
        if number:
            entry |= {"value": round(number[0], 3), "limit": number[1], "unit": number[2]}
        self.checks.append(entry)
        if not self.quiet:
            print(f"{status:<5} {name}: {entry['detail']}", flush=True)

    def said(self) -> set[str]:
        """Return the names of the checks that have a result."""
        return {entry["name"] for entry in self.checks}

    def judge(
        self, passed: bool, name: str, detail: str, number: tuple[float, float, str] | None = None
    ) -> None:
        """Add a check that passed or failed."""
        self.add("OK" if passed else "FAIL", name, detail, number)

    def need(self, passed: bool, name: str, detail: str) -> None:
        """Add a check on which the rest depends.

        Raises:
            Stop: it failed.
        """
        self.judge(passed, name, detail)
        if not passed:
            raise Stop

    def skip(self, name: str, reason: str) -> None:
        """Add a check that does not apply here."""
        self.add("SKIP", name, reason)

    def counts(self) -> dict[str, int]:
        """Count the results."""
        found = [entry["status"] for entry in self.checks]
        return {word.lower(): found.count(word) for word in ("OK", "FAIL", "SKIP")}

    def finish(self, reason: str = "", code: int | None = None) -> int:
        """Print what is left to print and return the exit code.

        Args:
            reason: why the suite was not or could not be run.
            code: the exit code, where the checks do not settle it.
        """
        failed = self.counts()["fail"] > 0
        for name in self.names if not reason else ():
            if name in self.said():
                continue
            if failed:
                self.skip(name, "not reached: an earlier check failed")
            else:
                self.add("FAIL", name, "no result: a defect of this suite")
        counts = self.counts()
        settled = "fail" if counts["fail"] else "pass" if counts["ok"] else "not_run"
        outcome = "not_run" if reason else settled
        if self.quiet:
            evidence = self.evidence if outcome != "not_run" else "none"
            told = {
                "check": self.check,
                "outcome": outcome,
                "reason": one_line(reason),
                "evidence": evidence,
                "counts": counts,
                "checks": self.checks,
                "figures": self.figures,
                "versions": self.versions,
                "seconds": round(time.monotonic() - self.started, 1),
            }
            print(json.dumps(told, allow_nan=False), flush=True)
        elif code is None:
            if reason:
                print(f"SKIP  {self.check}: NOT RUN: {one_line(reason)}")
            mark = " (simulated)" if self.evidence == "simulated" else ""
            print(
                f"{outcome.replace('_', ' ').upper()} {self.check}: {counts['ok']} passed,"
                f" {counts['fail']} failed, {counts['skip']} skipped{mark}"
            )
        return EXIT_CODES[outcome] if code is None else code


def one_line(text: str, limit: int = 300) -> str:
    """Return text without control characters, not longer than a line may be."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:limit]


def is_simulated() -> bool:
    """Return whether something on this box stands in for the real thing."""
    return bool(ROOT) or any(Path("/usr/share/cube/stand-ins").glob("*"))


def count_gpus() -> int:
    """Count NVIDIA's display controllers on the PCI bus.

    Source: the PCI ID registry, vendor 10de; PCI class 03 is a display controller.
    """
    found = 0
    for device in Path(f"{ROOT}/sys/bus/pci/devices").glob("*"):
        with contextlib.suppress(OSError):
            ours = (device / "vendor").read_text().strip() == "0x10de"
            found += ours and (device / "class").read_text().startswith("0x03")
    return found


def expected_gpus(on_bus: int) -> int:
    """Return how many GPUs the box should have: what layer 5 wrote down, else what is there."""
    try:
        return int(json.loads(Path(f"{ROOT}/etc/cube/expectations.json").read_text())["gpu_count"])
    except (OSError, ValueError, KeyError, TypeError):
        return on_bus


def find_python(name: str, given: str | None) -> str:
    """Return the interpreter of a framework's environment.

    Raises:
        NotRun: the environment is not on this box.
        CannotRun: it is not whole, or what was given cannot be run.
    """
    if given:
        if not shutil.which(given):
            raise CannotRun(f"--python {given} cannot be run: name an interpreter that has {name}")
        return str(Path(shutil.which(given) or given).absolute())
    venv = Path(f"{ROOT}/opt/cube/venvs/{name}")
    if not venv.is_dir():
        raise NotRun(f"there is no environment {name} on this box ({venv}): layer 4 makes it")
    if not (venv / "requirements.txt").is_file() or not os.access(venv / "bin/python", os.X_OK):
        raise CannotRun(f"the environment {venv} is not whole: apply layer 4 again")
    return str(venv / "bin/python")


def conduct(report: Report, work: Callable[[], None]) -> int:
    """Do the work of a suite and return the exit code."""
    raise_on_signals()
    adopt_orphans()
    try:
        work()
    except Stop:
        pass
    except NotRun as error:
        return report.finish(str(error))
    except CannotRun as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return report.finish(str(error), EXIT_CANNOT_RUN)
    return report.finish()


def positive(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def make_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with the flags of every suite."""
    parser = argparse.ArgumentParser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Exit codes: 0 every check that applies passed; 1 a check failed; 2 it could not"
        " run; 77 NOT RUN, it does not apply to this box: never a pass.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a first look")
    return parser
