"""Each suite of stage 4 passes. `cube validate` runs the same, with live progress and a report."""

import time

import pytest
from testinfra.host import Host

from cube.hosts.validation import catalog, remote_lock, runner
from cube.hosts.validation.catalog import SUITES, Suite
from cube.hosts.validation.result import SuiteResult
from cube.hosts.validation.runner import Listener

#: Seconds beyond a suite's own limit.
SLACK_S = 120

#: The suite whose failure ended the others, by machine.
CLOSED = pytest.StashKey[dict[str, str]]()


def run(host: Host, suite: Suite, *, quick: bool) -> SuiteResult:
    """Run a suite on the machine and return what it found; it fails beside another validation."""
    words = runner.command(suite, quick=quick)
    started = time.monotonic()
    script = runner.render_script(words, limit_s=suite.limit(quick=quick))
    done = host.run(remote_lock.guarded(script))
    if done.rc == remote_lock.TAKEN:
        pytest.fail(f"another validation is running there: fuser --verbose {remote_lock.LOCK}")
    listener = Listener(suite)
    for line in (done.stdout + done.stderr).splitlines():
        listener.hear(line)
    seconds = time.monotonic() - started
    return runner.conclude(listener, done.rc, quick=quick, seconds=seconds)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(suite.name, marks=pytest.mark.timeout(suite.limit_s + SLACK_S))
        for suite in SUITES
    ],
)
def test_suite_passes(host: Host, name: str, request: pytest.FixtureRequest) -> None:
    closed = request.config.stash.setdefault(CLOSED, {})
    machine, suite = host.backend.get_pytest_id(), catalog.named(name)
    if machine in closed:
        pytest.fail(f"not run: {closed[machine]} failed before it")
    result = run(host, suite, quick=request.config.getoption("quick"))
    if suite.gate and result.outcome in {"fail", "error"}:
        closed[machine] = suite.title
    if result.outcome == "not_run":
        pytest.skip(f"deferred: {result.reason}")
    failed = [f"{one.name}: {one.detail}" for one in result.having("FAIL")]
    assert failed == []
    assert result.outcome == "pass", result.summary
