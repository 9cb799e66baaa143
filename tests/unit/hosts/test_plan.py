"""What is refused on a host that somebody lives on, and how a plan reads."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.config.model import Harm
from cube.hosts import plan, removals, survey
from cube.hosts.apply import Wanted
from cube.hosts.dry_run import Difference, Prediction
from cube.hosts.plan import Plan
from cube.hosts.survey import Survey
from cube.hosts.target import Box
from cube.runtime.errors import PlanError
from deploy.operations import apt

CONTAINERS = {"containers": ("web", "db"), "live_restore": ("false",)}


@pytest.fixture
def loaded(tmp_path: Path) -> Spec:
    return config.load_text("[layers]\nenabled = [1, 2, 5]\n", tmp_path / "cube.toml")


def prediction(layer: int, *commands: str) -> Prediction:
    found = [
        Difference(role="docker", operation=f"do {one}", diff="", commands=(one,))
        for one in commands
    ]
    return Prediction(layer=layer, operations=40, differences=tuple(found))


def refused(
    spec: Spec,
    box: Box,
    answers: dict[str, tuple[str, ...]],
    *changes: Prediction,
    layers: tuple[int, ...] = (1, 2, 5),
    gone: tuple[str, ...] = (),
) -> list[Harm | None]:
    """Return the words that allow what is refused."""
    known = {one.layer: one for one in changes}

    def ask(layer: int) -> Prediction:
        return known.get(layer, prediction(layer))

    found = plan.refusals(spec, box, layers, Survey(answers=answers), ask, gone=lambda: gone)
    return [one.allow for one in found]


def test_nothing_is_refused_on_an_empty_host(loaded: Spec, box: Box) -> None:
    assert refused(loaded, box, {}, prediction(1, "apt-get install docker.io")) == []


@pytest.mark.parametrize(
    ("answers", "changes", "expected"),
    [
        ({"unfinished": ("libc6",)}, (), [None]),
        ({"firewall": ("Status: inactive", "firewalld")}, (), ["second-firewall"]),
        (CONTAINERS, (prediction(1, "cat > /etc/docker/daemon.json"),), ["stop-containers"]),
        (CONTAINERS, (prediction(1, "apt-get install containerd"),), ["stop-containers"]),
        (CONTAINERS, (prediction(1, "cat > /etc/motd"),), []),
        (CONTAINERS, (prediction(2, "apt-get install docker.io"),), []),
        ({**CONTAINERS, "live_restore": ("true",)}, (prediction(1, "docker"),), []),
        ({"jobs": ("4711, python3",)}, (prediction(2, "apt-get install nvidia"),), ["stop-jobs"]),
        ({"jobs": ("4711, python3",)}, (prediction(1, "apt-get install ufw"),), []),
    ],
)
def test_what_would_harm_its_owner_is_refused(
    answers: dict[str, tuple[str, ...]],
    changes: tuple[Prediction, ...],
    expected: list[str],
    loaded: Spec,
    box: Box,
) -> None:
    assert refused(loaded, box, answers, *changes) == expected


def test_a_package_that_would_go_is_refused_unless_that_is_allowed(loaded: Spec, box: Box) -> None:
    assert refused(loaded, box, {}, gone=("chrony",)) == ["remove-packages"]
    apply = loaded.apply.model_copy(update={"allow": ("remove-packages",)})
    assert refused(loaded.model_copy(update={"apply": apply}), box, {}, gone=("chrony",)) == []


def test_what_apt_would_remove_is_asked_of_apt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The simulation that a command of our own has for its error is run alone."""
    monkeypatch.setattr(apt, "allows", lambda _: False)
    commands = (apt.get("install 'a b' c"), "cat > /etc/motd", apt.get("full-upgrade"))
    scripts = removals.simulations([prediction(1, *commands)])
    assert [script.split("--simulate ")[1].split(" 2>")[0] for script in scripts] == [
        "install 'a b' c",
        "full-upgrade",
    ]
    fake = tmp_path / "apt-get"
    fake.write_text("#!/bin/sh\nprintf 'Inst c (1 x [amd64])\\nRemv chrony [4]\\nPurg x [1]\\n'\n")
    fake.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    for script in scripts:
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=True, env=env
        )
        assert done.stdout.split() == ["chrony", "x"]


def test_only_layers_that_a_host_lacks_are_asked_what_they_remove(
    guarding: Callable[..., list[tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def gone(_: Box, predictions: Sequence[Prediction]) -> tuple[str, ...]:
        asked.append([one.layer for one in predictions])
        return ()

    monkeypatch.setattr(removals, "ask", gone)
    claims = '{"layers": {"1": {"applied": "2026-12-01T10:00:00Z", "recipe": "x", "roles": []}}}'
    guarding({"claimed": (claims,)})
    guarding({})
    assert asked == [[2, 5], [1, 2, 5]]


def test_the_login_of_root_is_refused_where_it_would_be_closed(loaded: Spec, box: Box) -> None:
    root = replace(box, endpoint=replace(box.endpoint, user="root"))
    assert refused(loaded, root, {}) == ["close-root"]
    assert refused(loaded, root, {}, layers=(5,)) == []


def test_only_layers_that_are_wanted_count(loaded: Spec, box: Box) -> None:
    change = prediction(1, "cat > /etc/docker/daemon.json")
    assert refused(loaded, box, CONTAINERS, change, layers=(5,)) == []


@pytest.fixture
def guarding(
    loaded: Spec, box: Box, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[tuple[str, ...]]]:
    """Guard an application on a host with answers; return the questions that were asked."""
    asked: list[tuple[str, ...]] = []

    def guard(answers: dict[str, tuple[str, ...]], *allow: Harm, one: Box = box) -> object:
        def ask(_: Box, questions: tuple[str, ...]) -> Survey:
            asked.append(questions)
            return Survey(answers=answers)

        monkeypatch.setattr(survey, "ask", ask)
        monkeypatch.setattr(
            plan, "predict", lambda layer, *_, **__: prediction(layer, "docker restart")
        )
        allowed = loaded.apply.model_copy(update={"allow": allow})
        plan.guard(loaded.model_copy(update={"apply": allowed}), one, Wanted())
        return asked

    return guard  # type: ignore[return-value]


def test_a_refusal_says_why_what_to_do_and_what_allows_it(
    guarding: Callable[..., list[tuple[str, ...]]],
) -> None:
    with pytest.raises(PlanError) as caught:
        guarding(CONTAINERS)
    error = caught.value
    assert error.message == (
        "desk1: nothing was changed: Docker would restart, which ends 2 containers: web, db"
    )
    assert error.hint.startswith("stop them, or set live-restore to true")
    assert error.hint.endswith("or --allow stop-containers")


def test_what_is_allowed_is_not_refused(guarding: Callable[..., list[tuple[str, ...]]]) -> None:
    asked = guarding(CONTAINERS, "stop-containers")
    assert asked == [survey.DANGERS]


def test_another_permission_is_none(guarding: Callable[..., list[tuple[str, ...]]]) -> None:
    with pytest.raises(PlanError):
        guarding(CONTAINERS, "stop-jobs")


def test_a_machine_of_the_pipeline_is_not_asked(
    guarding: Callable[..., list[tuple[str, ...]]], box: Box
) -> None:
    assert guarding(CONTAINERS, one=replace(box, building=True)) == []


def test_all_reasons_are_told(guarding: Callable[..., list[tuple[str, ...]]]) -> None:
    with pytest.raises(PlanError, match="and 1 more") as caught:
        guarding({**CONTAINERS, "unfinished": ("libc6",)})
    assert "packages are half installed: libc6" in caught.value.details
    assert "dpkg --configure -a" in caught.value.hint


def test_a_plan_reads_like_this(loaded: Spec, box: Box) -> None:
    seen = Survey(
        answers={
            "system": ("Debian GNU/Linux 13 (trixie), kernel 6.12.57",),
            "sources": ("http://mirror.example/debian trixie",),
            "engines": ("docker-ce 5:27.1",),
            "containers": ("web", "db"),
            "live_restore": ("false",),
            "firewall": ("Status: inactive",),
            "tables": ("table ip filter",),
            "sshd": ("port 22", "port 2222", "passwordauthentication yes", "permitrootlogin no"),
            "jobs": (),
        }
    )
    change = prediction(1, "cat > /etc/docker/daemon.json")
    skipped = Prediction(layer=2, skipped="no GPU")
    layers = (change, skipped)
    found = tuple(plan.refusals(loaded, box, [1, 2], seen, lambda layer: layers[layer - 1]))
    assert Plan(survey=seen, layers=layers, refusals=found).text("desk1").splitlines() == [
        "desk1: Debian GNU/Linux 13 (trixie), kernel 6.12.57",
        "  found    apt sources: http://mirror.example/debian trixie",
        "  found    container engine: docker-ce 5:27.1",
        "  found    2 containers running (a restart of Docker ends them): web, db",
        "  found    firewall: no ufw; nftables has 1 table",
        "  found    sshd: port 22, 2222; lets in passwords, which layer 1 ends",
        "  changes  layer 1: 1 of 40 operations",
        "  changes    docker: do cat > /etc/docker/daemon.json",
        "  changes  layer 2: skipped: no GPU",
        "  REFUSED  Docker would restart, which ends 2 containers: web, db (stop them, or set"
        " live-restore to true in /etc/docker/daemon.json, or --allow stop-containers)",
    ]


def test_long_lists_are_counted() -> None:
    assert plan.shortened(["a", "b", "c", "d", "e", "f", "g"]) == "a, b, c, d, e, f and 1 more"
