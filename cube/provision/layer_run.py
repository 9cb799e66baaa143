"""One layer on one target: apply, prove, restart and check it, for a link and for a host."""

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from cube.provision import pytest_run
from cube.provision.pyinfra_run import Applied
from cube.provision.pytest_run import CheckRun
from cube.runtime import log
from cube.runtime.check_report import CheckReport


@dataclass(frozen=True, kw_only=True)
class LayerRun:
    """What is to be done.

    Args:
        layer: its number.
        apply: applies it.
        prove: applies it again after the first application, and requires that nothing changes;
            None where that is not wanted.
        restart: restarts the target where that is due, and returns why it is still due.
        checks: what is checked at the end; None where that is not wanted.
        check_slot: is held while checks run.
    """

    layer: int
    apply: Callable[[], Applied]
    restart: Callable[[Applied], str]
    prove: Callable[[Applied], Applied] | None = None
    checks: CheckRun | None = None
    check_slot: AbstractContextManager[object] = field(default_factory=contextlib.nullcontext)


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """What was done; of a layer that does not apply, only `first` is known.

    Args:
        first: the application.
        again: the second one; None when there was none.
        restart: why the target needs a restart now; empty when it does not.
        report: of the checks; None when none ran.
        apply_s: seconds of the application.
        repeat_s: seconds of the second one.
        check_s: seconds of the checks.
    """

    first: Applied
    again: Applied | None = None
    restart: str = ""
    report: CheckReport | None = None
    apply_s: float = 0.0
    repeat_s: float = 0.0
    check_s: float = 0.0


def run_layer(one: LayerRun) -> LayerResult:
    """Apply, prove, restart and check one layer.

    Raises:
        ProvisionError: an operation failed, or the second application changed something.
        CheckError: a check failed.
        MachineError: the target did not come back.
    """
    layer = one.layer
    clock = Clock()
    with log.step(f"Applying layer {layer}", layer=layer):
        first = one.apply()
    apply_s = clock.lap()
    if first.skipped:
        return LayerResult(first=first, apply_s=apply_s)
    again = None
    if one.prove:
        with log.step(f"Applying layer {layer} again: nothing may change", layer=layer):
            again = one.prove(first)
    repeat_s = clock.lap()
    restart = one.restart(again or first)
    report, check_s = None, 0.0
    if one.checks:
        with one.check_slot, log.step(f"Checking layer {layer}", layer=layer):
            clock.lap()
            report = pytest_run.run_checks(one.checks)
            check_s = clock.lap()
    return LayerResult(
        first=first,
        again=again,
        restart=restart,
        report=report,
        apply_s=apply_s,
        repeat_s=repeat_s,
        check_s=check_s,
    )


class Clock:
    """Measures one part of the work after the other."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last call."""
        before, self._since = self._since, time.monotonic()
        return self._since - before
