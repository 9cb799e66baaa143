"""A validation: the suites on one box, in order, and the verdict over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from cube.hosts.target import Box
from cube.hosts.validation import remote_lock, runner
from cube.hosts.validation.catalog import SUITES, Suite
from cube.hosts.validation.result import Evidence, SuiteResult
from cube.runtime import log

Verdict = Literal["passed", "failed", "incomplete"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be run.

    Args:
        suites: in order.
        quick: in their short forms.
        model: path or hub id of the model of the vLLM suite; empty makes a tiny one.
    """

    suites: tuple[Suite, ...] = SUITES
    quick: bool = False
    model: str = ""

    def arguments(self, suite: Suite) -> tuple[str, ...]:
        """Return what a suite is given beside what it always has."""
        return ("--model", self.model) if self.model and suite.name == "vllm" else ()


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What the suites found on a box.

    Args:
        box: its name.
        began: when, in UTC.
        quick: whether the short forms ran.
        results: a suite each, in order; those that were not reached are `not_run`.
    """

    box: str
    began: datetime
    quick: bool
    results: tuple[SuiteResult, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst outcome counts; a suite that did not run proves nothing."""
        outcomes = {one.outcome for one in self.results}
        if outcomes & {"fail", "error"}:
            return "failed"
        return "incomplete" if "not_run" in outcomes or not outcomes else "passed"

    @property
    def evidence(self) -> Evidence:
        """The weakest evidence of what ran."""
        order: tuple[Evidence, ...] = ("simulated", "cpu", "hardware")
        found = {one.evidence for one in self.results}
        return next((word for word in order if word in found), "none")

    @property
    def seconds(self) -> float:
        """How long the suites took."""
        return sum(one.seconds for one in self.results)

    @property
    def summary(self) -> str:
        """A line for a person."""
        on = f" on {self.evidence}" if self.evidence != "none" else ""
        return f"validation of {self.box} {self.verdict}{on}"


def validate(box: Box, wanted: Wanted) -> Validation:
    """Run suites on a box.

    Args:
        box: that lets us in.
        wanted: which suites, and how.

    Raises:
        BusyError: another validation is running there.
        MachineError: the box does not answer any more.
    """
    began = datetime.now(UTC)
    results: list[SuiteResult] = []
    with remote_lock.holding(box):
        runner.end_orphan(box)
        for suite in wanted.suites:
            results.append(run_one(box, suite, wanted, results))
    return Validation(box=box.name, began=began, quick=wanted.quick, results=tuple(results))


def run_one(box: Box, suite: Suite, wanted: Wanted, before: Sequence[SuiteResult]) -> SuiteResult:
    """Run one suite, unless one before it closed the gate."""
    closed = closed_gate(before)
    if closed:
        result = SuiteResult(suite=suite.name, outcome="not_run", reason=closed)
    else:
        with log.step(f"{suite.title} on {box.name}", suite=suite.name):
            result = runner.run_suite(
                box, suite, quick=wanted.quick, arguments=wanted.arguments(suite)
            )
    log.info(f"{suite.title}: {result.summary}", suite=suite.name, outcome=result.outcome)
    for one in result.having("FAIL"):
        log.warning(f"{suite.title}: {one.name}: {one.detail}")
    return result


def closed_gate(before: Sequence[SuiteResult]) -> str:
    """Say which suite closed the gate; empty when none did."""
    gates = {suite.name: suite for suite in SUITES if suite.gate}
    for one in before:
        if one.suite in gates and one.outcome in {"fail", "error"}:
            return f"{gates[one.suite].title} failed before it"
    return ""
