"""The order in which a layer is applied, proved, restarted and checked."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.provision import pytest_run
from cube.provision.layer_run import LayerRun, run_layer
from cube.provision.pyinfra_run import Applied
from cube.provision.pytest_run import CheckRun
from cube.runtime import log
from cube.runtime.check_report import Check, CheckReport
from cube.runtime.errors import CheckError, ProvisionError

CHECKS = CheckRun(
    target=Path("/"), select=["checks"], spec_file=Path("s"), results_dir=Path("r"), name="layer1"
)
PASSED = Check(id="a", title="a", group="layer1", outcome="passed", evidence="vm")


class Steps:
    """Notes what is done, and does as it is told."""

    def __init__(self, *, skipped: str = "", fails: str = "") -> None:
        self.done: list[str] = []
        self.skipped = skipped
        self.fails = fails

    def note(self, name: str) -> None:
        self.done.append(name)
        if name == self.fails:
            raise ProvisionError(name)

    def apply(self) -> Applied:
        self.note("apply")
        return Applied(layer=1, skipped=self.skipped, answer="first")

    def prove(self, first: Applied) -> Applied:
        assert first.answer == "first"
        self.note("prove")
        return Applied(layer=1, answer="again")

    def restart(self, last: Applied) -> str:
        self.note(f"restart {last.answer}")
        return "new kernel"

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        self.note("slot")
        yield

    def run_checks(self, _: CheckRun) -> CheckReport:
        self.note("check")
        return CheckReport(checks=(PASSED,))


def run_of(steps: Steps, *, prove: bool = True, check: bool = True) -> LayerRun:
    return LayerRun(
        layer=1,
        apply=steps.apply,
        restart=steps.restart,
        prove=steps.prove if prove else None,
        checks=CHECKS if check else None,
        check_slot=steps.slot(),
    )


def test_all_is_done_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, told = Steps(), list[log.Event]()
    monkeypatch.setattr(pytest_run, "run_checks", steps.run_checks)
    with log.listening(told.append):
        done = run_layer(run_of(steps))
    assert steps.done == ["apply", "prove", "restart again", "slot", "check"]
    assert (done.restart, done.report) == ("new kernel", CheckReport(checks=(PASSED,)))
    assert [one.text for one in told if one.kind == "step"] == [
        "Applying layer 1",
        "Applying layer 1 again: nothing may change",
        "Checking layer 1",
    ]


def test_what_is_not_wanted_is_left_out() -> None:
    steps = Steps()
    done = run_layer(run_of(steps, prove=False, check=False))
    assert steps.done == ["apply", "restart first"]
    assert (done.again, done.report, done.repeat_s < 1) == (None, None, True)


def test_a_layer_that_does_not_apply_ends_there() -> None:
    steps = Steps(skipped="no GPU")
    assert run_layer(run_of(steps)).first.skipped == "no GPU"
    assert steps.done == ["apply"]


@pytest.mark.parametrize(
    ("fails", "done"),
    [
        ("apply", ["apply"]),
        ("prove", ["apply", "prove"]),
        ("restart again", ["apply", "prove", "restart again"]),
    ],
)
def test_nothing_follows_a_failure(fails: str, done: list[str]) -> None:
    steps = Steps(fails=fails)
    with pytest.raises(ProvisionError):
        run_layer(run_of(steps))
    assert steps.done == done


def test_failed_checks_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: CheckRun) -> CheckReport:
        raise CheckError("2 checks failed")

    monkeypatch.setattr(pytest_run, "run_checks", refuse)
    with pytest.raises(CheckError):
        run_layer(run_of(Steps()))
