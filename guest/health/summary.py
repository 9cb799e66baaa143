"""Run the health checks of every layer and of the GPUs, and keep what they said.

Exit codes: 0 all that applies passed; 1 something failed; 2 something could not run;
77 nothing applies. With ``--record`` (the timer's way): 0 once the result is written.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from guest.checking.report import EXIT_CANNOT_RUN, EXIT_CODES
from guest.checking.state import ROOT

HEALTH = ROOT / "var/lib/cube/health.json"
SCRIPTS = [*(f"health-check-layer{n}.sh" for n in range(1, 6)), "validate-gpus.sh"]
FOLDER = Path(os.environ.get("CUBE_BIN", "/usr/local/bin"))
LIMIT_S = 600

#: Exit codes; a program that could not run is an error.
CODES = {**EXIT_CODES, "error": EXIT_CANNOT_RUN}
#: The journal's priority for an outcome. Source: sd-daemon(3).
PRIORITIES = {"pass": 6, "fail": 3, "error": 4, "not_run": 4}

Result = dict[str, object]


def main() -> int:
    """Run, show or record, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="cube-health", description="Run the health checks of this box."
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--record", action="store_true", help="keep the result; print one line")
    options = parser.parse_args()
    results = []
    for script in SCRIPTS:
        results.append(run(script))
        if not (options.json or options.record):
            print(render(results[-1]))  # noqa: T201 (this is its output)
    health = summarize(results)
    if options.record:
        return record(health)
    print(json.dumps(health, indent=2) if options.json else health["summary"])  # noqa: T201
    return CODES[str(health["outcome"])]


def run(script: str) -> Result:
    """Run one script and return the object that it printed, or one that says why it did not."""
    check = script.removeprefix("health-check-").removesuffix(".sh").removeprefix("validate-")
    try:
        done = subprocess.run(
            [FOLDER / script, "--json"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return broken(check, str(error))
    try:
        result: Result = json.loads(done.stdout)
        agrees = CODES[str(result["outcome"])] == done.returncode
    except (ValueError, TypeError, KeyError):
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        return broken(check, f"exit code {done.returncode}: {last}")
    return result if agrees else broken(check, f"exit code {done.returncode} against its output")


def broken(check: str, reason: str) -> Result:
    """Describe a script that could not be run; never a pass."""
    return {"check": check, "outcome": "error", "reason": reason, "evidence": "none", "checks": []}


def summarize(results: list[Result]) -> Result:
    """Put the results together under one outcome and one line."""
    outcomes = [str(result["outcome"]) for result in results]
    worst = next((word for word in ("fail", "error", "pass") if word in outcomes), "not_run")
    return {
        "schema": 1,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "outcome": worst,
        "summary": "; ".join([*complaints(results), *praise(results)]) or "nothing to check",
        "results": results,
    }


def complaints(results: list[Result]) -> Iterator[str]:
    """Yield a phrase for each thing that failed or could not run."""
    for result in results:
        if result["outcome"] == "error":
            yield f"{result['check']} could not run: {result['reason']}"
        for item in failed(result):
            yield f"{result['check']} FAIL {item['name']}: {item['detail']}"


def failed(result: Result) -> list[dict[str, str]]:
    """Return the checks that failed."""
    checks = result["checks"]
    assert isinstance(checks, list)
    return [item for item in checks if item["status"] == "FAIL"]


def praise(results: list[Result]) -> Iterator[str]:
    """Yield what is well and what did not run."""
    for outcome, word in (("pass", "ok"), ("not_run", "not run")):
        names = [str(result["check"]) for result in results if result["outcome"] == outcome]
        if names:
            yield f"{', '.join(names)} {word}"


def render(result: Result) -> str:
    """Return a script's result as its own text output would look."""
    checks = result["checks"]
    assert isinstance(checks, list)
    lines = [f"{item['status']:<5} {item['name']}: {item['detail']}" for item in checks]
    reason = f": {result['reason']}" if result["reason"] else ""
    title = f"{result['check']} {str(result['outcome']).replace('_', ' ').upper()}{reason}"
    return "\n".join([title, *(f"  {line}" for line in lines)])


def record(health: Result) -> int:
    """Write the state file and one journal line; return 0 when the file is in place."""
    try:
        write_atomic(HEALTH, json.dumps(health, indent=2) + "\n")
    except OSError as error:
        print(f"<3>cube-health: the result cannot be written: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"<{PRIORITIES[str(health['outcome'])]}>{health['summary']}")  # noqa: T201
    return 0


def write_atomic(path: Path, text: str) -> None:
    """Replace a file in one step, readable by all.

    Raises:
        OSError: it cannot be written; the old file is still whole, nothing is left beside it.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
