"""What is told of a box that differs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cube import config
from cube.chain.key import keys
from cube.config import Spec
from cube.hosts import drift
from cube.hosts.apply import check_run
from cube.hosts.drift import LayerDrift
from cube.hosts.dry_run import Difference, Prediction
from cube.hosts.record import Entry
from cube.hosts.target import Box
from cube.provision import pytest_run
from cube.provision.file_diff import LINES
from cube.runtime import log
from cube.runtime.check_report import Check, CheckReport
from cube.runtime.errors import CheckError, DriftError
from tests.unit.hosts.conftest import Answers


@pytest.fixture
def loaded(tmp_path: Path) -> Spec:
    text = '[layers]\nenabled = [1, 2, 5]\n[build]\ndir = "build"\n'
    return config.load_text(text, tmp_path / "cube.toml")


def entry(layer: int, recipe: str, roles: tuple[str, ...]) -> Entry:
    return Entry(layer=layer, applied="", recipe=recipe, roles=roles, key="")


def test_the_same_sources_are_no_difference(loaded: Spec) -> None:
    roles = loaded.layers.roles(5)
    assert drift.other_sources(loaded, entry(5, keys.recipe(5, roles), roles)) == ""


@pytest.mark.parametrize(
    ("recipe", "roles", "told"),
    [
        ("f" * 64, ("monitoring", "validation"),
         "made by other sources than this checkout's: ffffffffffff, this checkout has "),
        ("", ("monitoring", "validation"), "made by a release that did not note its sources"),
        ("f" * 64, ("validation",),
         "made of the roles validation, now they are monitoring, validation"),
    ],
)  # fmt: skip
def test_other_sources_are_told(
    recipe: str, roles: tuple[str, ...], told: str, loaded: Spec
) -> None:
    assert drift.other_sources(loaded, entry(5, recipe, roles)).startswith(told)


def record_of(loaded: Spec, *layers: int) -> str:
    rows = {
        str(layer): {
            "applied": "",
            "key": "",
            "roles": list(loaded.layers.roles(layer)),
            "recipe": keys.recipe(layer, loaded.layers.roles(layer)),
        }
        for layer in layers
    }
    return json.dumps({"layers": rows})


@pytest.fixture
def comparing(
    loaded: Spec, answering: Callable[[Answers], list[str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Let the box claim layers, and pyinfra predict the same of each."""

    def install(*claimed: int, prediction: Prediction) -> None:
        claims = record_of(loaded, *claimed)
        answering({"layers.json": claims, "reboot-required": "", "needrestart": ""})
        monkeypatch.setattr(drift, "predict", lambda *_, **__: prediction)

    return install


def test_a_box_without_a_record_claims_nothing(
    box: Box, loaded: Spec, answering: Callable[[Answers], list[str]]
) -> None:
    answering({"layers.json": ""})
    with pytest.raises(DriftError) as caught:
        drift.compare(loaded, box, [])
    assert caught.value.message == ("desk1 claims no layer: /var/lib/cube/layers.json is missing")
    assert "cube apply desk1" in caught.value.hint


@pytest.mark.parametrize(
    ("prediction", "problem"),
    [
        (Prediction(layer=1), "the box does not claim it"),
        (Prediction(layer=3), "the box claims it, cube.toml does not enable it"),
        (Prediction(layer=2, skipped="no GPU"),
         "the box claims it, but it does not apply there now: no GPU"),
        (Prediction(layer=5, operations=3), ""),
    ],
)  # fmt: skip
def test_a_claim_is_held_against_what_is_there(
    prediction: Prediction,
    problem: str,
    box: Box,
    loaded: Spec,
    comparing: Callable[..., None],
) -> None:
    comparing(2, 3, 5, prediction=prediction)
    (found,) = drift.compare(loaded, box, [prediction.layer], checks=False)
    assert (found.problem, found.found) == (problem, bool(problem))


def test_a_box_is_compared_with_all_that_it_claims(
    box: Box, loaded: Spec, comparing: Callable[..., None]
) -> None:
    comparing(5, 1, prediction=Prediction(layer=0, operations=3))
    assert [one.layer for one in drift.compare(loaded, box, [], checks=False)] == [1, 5]


def test_what_waits_for_a_restart_is_told(
    box: Box, answering: Callable[[Answers], list[str]]
) -> None:
    stale = "NEEDRESTART-VER: 3.11\nNEEDRESTART-SVC: docker.service\nNEEDRESTART-SVC: ssh.service\n"
    answering({"reboot-required": "asked libc6\n", "needrestart": stale})
    heard: list[log.Event] = []
    with log.listening(heard.append):
        drift.tell_restarts(box)
    assert [event.text for event in heard] == [
        "desk1 needs a restart: asked for by libc6",
        "desk1: services run with libraries that were replaced: docker.service, ssh.service",
    ]


def check(title: str, *, failed: bool) -> Check:
    return Check(
        id=title,
        title=title,
        group="layer5",
        outcome="failed" if failed else "passed",
        evidence="vm",
        reason="0 == 1" if failed else "",
    )


def test_all_differences_are_told_line_by_line() -> None:
    long = "\n".join(f"+ {number}" for number in range(LINES + 2))
    found = LayerDrift(
        layer=5,
        sources="made by other sources",
        operations=9,
        differences=(
            Difference(role="monitoring", operation="Install", diff="", commands=("apt x",)),
            Difference(role="validation", operation="Say", diff=long, commands=("put",)),
        ),
        failed=(check("timer is waiting", failed=True),),
    )
    lines = found.lines()
    assert lines[:4] == [
        "layer 5: made by other sources",
        "layer 5: monitoring: Install",
        "    apt x",
        "layer 5: validation: Say",
    ]
    assert lines[4 + LINES :] == [
        "    ... and 2 lines more",
        "layer 5: check failed: timer is waiting: 0 == 1",
    ]
    assert found.as_json()["drift"] is True


def test_no_drift_is_told_in_one_line() -> None:
    found = LayerDrift(layer=1, operations=46, checks="158 passed")
    assert (found.found, found.lines()) == (False, [])
    assert found.summary == "no drift in 46 operations; checks: 158 passed"


def log_lines(*, failed: bool) -> str:
    phase = {
        "$report_type": "TestReport",
        "nodeid": "a",
        "when": "call",
        "duration": 0.1,
        "outcome": "failed" if failed else "passed",
        "longrepr": "E  it broke",
        "user_properties": [["title", "a fact"]],
    }
    return json.dumps(phase) + "\n"


@pytest.mark.parametrize("failed", [True, False])
def test_failed_checks_are_drift_but_broken_runs_are_not(
    failed: bool, box: Box, loaded: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = check_run(loaded, box, 5).report_log
    file.parent.mkdir(parents=True)
    file.write_text(log_lines(failed=failed))

    def refuse(*_: object) -> CheckReport:
        raise CheckError("the checks of layer5 did not run to their end")

    monkeypatch.setattr(pytest_run, "run_checks", refuse)
    if failed:
        (found,) = drift.judge(loaded, box, 5).having("failed")
        assert (found.title, found.reason) == ("a fact", "it broke")
        return
    with pytest.raises(CheckError, match="did not run to their end"):
        drift.judge(loaded, box, 5)
