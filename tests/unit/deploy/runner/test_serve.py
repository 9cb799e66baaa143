"""pyinfra's process for many hosts says of every job that it has ended."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[4]

#: Runs in a process of its own, as importing the module has gevent replace what blocks.
PROGRAM = """
import sys
from pathlib import Path
from deploy.runner import serve

def fail(*_):
    raise {error}

serve.perform = fail
serve.logger.addHandler(serve.JobLog())
serve.logger.propagate = False
job = serve.Job(
    id=7, machine=Path("m"), events=Path(sys.argv[1]), layer=1, timeout_s=9, dry=False, diff=False
)
serve.serve(None, job, sys.stdout)
"""


def answer_of(error: str, events: Path) -> str:
    """Return what is answered to a job that fails."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error=error), str(events)],
        capture_output=True, text=True, check=True, cwd=PROJECT, timeout=120,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("EOFError()", "EOFError: "),
        ("AssertionError('what')", "AssertionError: what"),
        ("OSError(5, 'broken')", "[Errno 5] broken"),
    ],
)
def test_a_job_ends_whatever_comes_of_it(tmp_path: Path, error: str, cause: str) -> None:
    events = tmp_path / "events"
    assert answer_of(error, events) == "7\n"
    assert json.loads(events.read_text().splitlines()[-1]) == {
        "event": "exit", "code": 1, "cause": cause,
    }  # fmt: skip


@pytest.mark.parametrize("error", ["OSError(5, 'broken')", "AssertionError('what')"])
def test_a_job_is_answered_although_no_event_can_be_written(error: str) -> None:
    """The second error is told by pyinfra's logger, whose words are events, too."""
    assert answer_of(error, Path("/dev/full")) == "7 [Errno 28] No space left on device\n"
