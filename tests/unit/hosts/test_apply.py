"""What is done to a box, and how it is told."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cube import config
from cube.chain.key import keys
from cube.config import Spec
from cube.config.live_host import box_data
from cube.hosts import apply
from cube.hosts.apply import Application, Outcome, Wanted
from cube.hosts.snapshot import Plan
from cube.hosts.target import Box
from cube.provision import pyinfra_run
from cube.provision.pyinfra_events import Journal
from cube.runtime.errors import CheckError, ProvisionError, SpecError
from tests.unit.hosts.conftest import Answers, root_of, snapshot

RECORD = '{"layers": {"1": {"applied": "", "roles": [], "key": "abc"}}}'


@pytest.fixture
def loaded(tmp_path: Path) -> Spec:
    text = '[layers]\nenabled = [1, 5]\n[network]\nproxy = "http://proxy:3128"\n'
    return config.load_text(text, tmp_path / "cube.toml")


@pytest.mark.parametrize(("named", "chosen"), [([], [1, 5]), ([5, 1], [1, 5]), ([5, 5], [5])])
def test_layers_are_applied_in_order(named: list[int], chosen: list[int], loaded: Spec) -> None:
    assert apply.choose_layers(loaded, named) == chosen


def test_a_layer_must_be_enabled(loaded: Spec) -> None:
    with pytest.raises(SpecError, match="layer 3 is not enabled"):
        apply.choose_layers(loaded, [1, 3])


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Outcome(layer=2, skipped="no GPU"), "layer 2  skipped: no GPU"),
        (
            Outcome(layer=1, operations=47, seconds=3.04),
            "layer 1  47 operations, nothing changed; not checked; 3.0 s",
        ),
        (
            Outcome(
                layer=5, operations=18, changed=("a: b", "a: c"), proved=True, seconds=12,
                checks="61 passed, 2 deferred", snapshot="cube-before-layer5",
            ),
            "layer 5  18 operations, 2 changed; a second time nothing changed;"
            " checks: 61 passed, 2 deferred; snapshot cube-before-layer5; 12 s",
        ),
    ],
)  # fmt: skip
def test_a_layer_is_told_in_one_line(outcome: Outcome, told: str) -> None:
    assert outcome.summary == told
    assert outcome.as_json()["layer"] == outcome.layer


def test_a_layer_on_a_box_has_a_key_of_the_box(
    box: Box, loaded: Spec, answering: Callable[[Answers], list[str]]
) -> None:
    answering({"layers.json": RECORD})
    wanted = keys.layer_ingredients(
        loaded, 5, parent="abc", refresh="", data=box_data(loaded)
    )  # fmt: skip
    assert apply.layer_key(loaded, box, 5) == keys.digest(wanted)


def test_a_machine_of_the_pipeline_has_what_is_build_only(
    box: Box, loaded: Spec, answering: Callable[[Answers], list[str]]
) -> None:
    answering({"layers.json": RECORD})
    up = Box(name="up", endpoint=box.endpoint, building=True)
    wanted = keys.layer_ingredients(loaded, 1, parent="", refresh="")
    assert apply.layer_key(loaded, up, 1) == keys.digest(wanted)
    assert apply.layer_key(loaded, box, 1) != keys.digest(wanted)


@pytest.mark.parametrize(("prove", "snapshots"), [(False, False), (True, False), (False, True)])
def test_loads_begin_early_but_for_snapshots_and_second_applications(
    prove: bool, snapshots: bool, box: Box, loaded: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    def run_layer(layer: int, env: dict[str, str], *_: object, **__: object) -> tuple[int, Journal]:
        told.append(json.loads(Path(env["CUBE_MACHINE"]).read_text())["data"].get("run"))
        operations = [{"id": "a", "name": "Do a"}]
        ended = {"id": "a", "name": "Do a", "changed": False, "execs": 1, "seconds": 0.1}
        plan = {"event": "plan", "layer": layer, "operations": operations}
        return 0, Journal(file=Path(os.devnull), events=[plan, {"event": "end", **ended}])

    monkeypatch.setattr(pyinfra_run, "run_layer", run_layer)
    room = Plan(root=root_of(), extents=1) if snapshots else None
    one = Application(spec=loaded, box=box, wanted=Wanted(prove=prove), room=room)
    one.provision(1, "key", None)
    assert told == ([None] if snapshots else [[1, 5], None] if prove else [[1, 5]])


@pytest.mark.parametrize(("layer", "word"), [(1, "base"), (2, "layer1"), (5, "layer4")])
def test_below_a_layer_is_another_or_the_base(layer: int, word: str) -> None:
    assert apply.before(layer) == word


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ProvisionError("x", hint="correct it, then run cube build again: it goes on"),
         "correct it, then cube apply desk1 --layers 5, or go back: cube rollback desk1 layer4"),
        (ProvisionError("x", hint="an operation must compare; correct it, then run cube build"),
         "an operation must compare; correct it, then cube apply desk1 --layers 5, or go back:"
         " cube rollback desk1 layer4"),
        (CheckError("x", hint="try pytest a.py --hosts=NAME"),
         "try pytest a.py '--hosts=ssh://anna@192.0.2.10:22?ssh_identity_file=%2Fk"
         "&known_hosts=%2Fh', or go back: cube rollback desk1 layer4"),
    ],
)  # fmt: skip
def test_a_failure_says_what_to_do_on_a_box(
    error: ProvisionError | CheckError, hint: str, box: Box, loaded: Spec
) -> None:
    one = Application(spec=loaded, box=box, wanted=Wanted(), room=None)
    with pytest.raises(type(error)) as caught, one.advising(5, snapshot(5)):
        raise error
    assert caught.value.hint == hint
