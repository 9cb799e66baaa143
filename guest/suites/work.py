"""The work of a worker: its job comes in a variable, its results go into a file."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from guest.checking.report import one_line
from guest.suites.processes import WORKER, end_with_parent

Job = dict[str, Any]


def explain(error: Exception, _job: Job) -> str:
    """Say in one line what went wrong."""
    return f"{type(error).__name__}: {one_line(str(error))}"


def do_job(
    acts: Mapping[str, Callable[[Job], None]],
    explain_error: Callable[[Exception, Job], str] = explain,
) -> int:
    """Do what the job names; the first error of it is handed back.

    Args:
        acts: what can be done, by name.
        explain_error: says what went wrong.
    """
    end_with_parent()
    job = json.loads(os.environ[WORKER])
    try:
        acts[job["act"]](job)
    except Exception as error:
        if not Path(job["result"]).exists():
            hand_back(job, {"error": explain_error(error, job)})
        raise
    return 0


def hand_back(job: Job, result: dict[str, Any]) -> None:
    """Give a worker's results to the parent, whole or not at all."""
    part = Path(f"{job['result']}.{os.getpid()}")
    part.write_text(json.dumps(result))
    part.rename(job["result"])


def python_version() -> str:
    """Return the version of this interpreter."""
    return sys.version.split()[0]
