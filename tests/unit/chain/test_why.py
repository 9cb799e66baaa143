"""Why a link would be reused or made anew."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cube import config
from cube.chain import refresh, why
from cube.chain.key.keys import Ingredients, base_ingredients, layer_ingredients
from cube.chain.plan import Planner
from cube.chain.rollback import rollback
from cube.chain.store.link import LayerRecord, Link
from cube.chain.store.links import Store
from cube.config import Spec, link_name
from cube.runtime.errors import ChainError
from tests.unit.chain import samples

Change = Callable[[Ingredients], None]
TOML = '[layers]\nenabled = [1, 2, 5]\n[build]\ndir = "build"\n'


@pytest.fixture
def wanted(tmp_path: Path) -> Spec:
    return config.load_text(TOML, tmp_path / "cube.toml")


def build(
    store: Store, wanted: Spec, *, skip: tuple[int, ...] = (), **changes: Change
) -> dict[str, Link]:
    """Make the links that a build would, but some of other ingredients."""

    def made(ingredients: Ingredients) -> Ingredients:
        if edit := changes.get(ingredients["name"]):
            edit(ingredients)
        return ingredients

    stamp = refresh.stamps(wanted.build.refresh, [])[-1]
    samples.create_disk(store.begin())
    parent = store.freeze(made(base_ingredients(wanted, refresh=stamp)), seconds=1)
    links = {"base": parent}
    for layer in wanted.layers.enabled:
        name = link_name(layer)
        given = made(layer_ingredients(wanted, layer, parent=parent.key, refresh=stamp))
        if layer in skip:
            links[name] = store.skip(given, LayerRecord(layer=layer, skipped="no GPU"))
            continue
        store.extend(parent)
        parent = links[name] = store.freeze(given, seconds=1, layer=LayerRecord(layer=layer))
    store.set_head(parent)
    return links


def fates(store: Store, wanted: Spec) -> dict[str, why.Fate]:
    return {fate.name: fate for fate in why.fates(Planner(spec=wanted, store=store))}


def explain(store: Store, wanted: Spec, name: str) -> list[str]:
    return why.explain(list(fates(store, wanted).values()), name)


def change(path: str) -> Change:
    """Return what gives a source another content."""

    def edit(ingredients: Ingredients) -> None:
        assert path in ingredients["sources"]
        ingredients["sources"][path] = "0" * 64

    return edit


def test_nothing_is_there_yet(store: Store, wanted: Spec) -> None:
    found = fates(store, wanted)
    assert {name: fate.verdict for name, fate in found.items()} == {
        "base": "made anew: there was none yet",
        "layer1": "made anew, because base below it is",
        "layer2": "made anew, because base below it is",
        "layer5": "made anew, because base below it is",
    }
    assert explain(store, wanted, "base") == [
        "base would be made anew",
        "base: there was none yet",
    ]


def test_all_is_there(store: Store, wanted: Spec) -> None:
    links = build(store, wanted, skip=(2,))
    found = fates(store, wanted)
    assert {fate.verdict for fate in found.values()} == {"reused"}
    assert {name: fate.link for name, fate in found.items()} == links
    (line,) = explain(store, wanted, "layer5")
    assert line.startswith(f"layer5 {links['layer5'].short} (made ")
    assert line.endswith("would be reused: nothing that makes it has changed")
    assert "(skipped, no GPU) would be reused" in explain(store, wanted, "layer2")[0]


def test_a_file_and_a_datum_that_changed_are_named(store: Store, wanted: Spec) -> None:
    def edit(ingredients: Ingredients) -> None:
        change("deploy/roles/users.py")(ingredients)
        ingredients["data"]["timezone"] = "Europe/Berlin"

    links = build(store, wanted, layer1=edit)
    found = fates(store, wanted)
    assert found["base"].verdict == "reused"
    assert found["layer1"].reasons == (
        "cube.toml timezone: Europe/Berlin -> Etc/UTC",
        "deploy/roles/users.py changed",
    )
    assert found["layer1"].verdict == (
        "made anew: cube.toml timezone: Europe/Berlin -> Etc/UTC (and 1 more)"
    )
    lines = explain(store, wanted, "layer1")
    assert lines[0] == "layer1 would be made anew"
    assert lines[1].startswith(f"layer1 {links['layer1'].short} (made ")
    assert lines[2:] == [f"  {reason}" for reason in found["layer1"].reasons]


def test_a_tool_and_another_supply_of_packages_are_named(store: Store, wanted: Spec) -> None:
    def edit(ingredients: Ingredients) -> None:
        ingredients["tools"]["pyinfra"] = "2.0"

    build(store, wanted, layer5=edit)
    (reason,) = fates(store, wanted)["layer5"].reasons
    assert reason.startswith("version of pyinfra: 2.0 -> ")
    pinned = config.load_text(f'{TOML}refresh = "2026-01-31"\n', wanted.file)
    assert "a supply of 2026-01-31 instead of" in fates(store, pinned)["base"].verdict


def test_the_link_below_is_the_cause_and_its_reasons_are_told(store: Store, wanted: Spec) -> None:
    links = build(store, wanted, layer1=change("deploy/roles/users.py"))
    found = fates(store, wanted)
    assert found["layer5"].verdict == "made anew, because layer1 below it is"
    assert found["layer5"].reasons == ()
    lines = explain(store, wanted, "layer5")
    assert lines[0] == "layer5 would be made anew, because of what is below it"
    assert lines[1].startswith(f"layer1 {links['layer1'].short} (made ")
    assert lines[2] == "  deploy/roles/users.py changed"
    assert lines[3].endswith(": by itself it would be reused")
    assert len(lines) == 4


def test_a_link_tells_its_own_reasons_besides_those_below(store: Store, wanted: Spec) -> None:
    name = "deploy/roles/monitoring.py"
    build(store, wanted, base=change("cube/baseimage/base_files.py"), layer5=change(name))
    found = fates(store, wanted)
    # A base that is made anew brings a new supply of packages: not a reason, the old one would do.
    assert found["base"].reasons == ("cube/baseimage/base_files.py changed",)
    assert found["layer5"].reasons == (f"{name} changed",)
    assert found["layer1"].reasons == ()
    lines = explain(store, wanted, "layer5")
    assert lines[2] == "  cube/baseimage/base_files.py changed"
    assert lines[4] == f"  {name} changed"


def test_a_layer_that_may_be_skipped_again_dooms_nothing_above(store: Store, wanted: Spec) -> None:
    links = build(store, wanted, skip=(2,), layer2=change("deploy/runner/layers.py"))
    found = fates(store, wanted)
    assert found["layer2"].verdict == "made anew: deploy/runner/layers.py changed"
    assert found["layer5"].verdict == "reused, if layer2 is skipped again"
    assert found["layer5"].link == links["layer5"]
    lines = explain(store, wanted, "layer5")
    assert lines[0] == "layer5 would be reused, if this one is skipped again"
    assert lines[2] == "  deploy/runner/layers.py changed"


def test_a_rollback_is_a_reason(store: Store, wanted: Spec) -> None:
    build(store, wanted)
    rollback(store, "layer1")
    found = fates(store, wanted)
    assert found["layer1"].verdict == "reused"
    assert found["layer2"].verdict == "made anew: it was set aside by a rollback"
    assert found["layer5"].reasons == ("it was set aside by a rollback",)


def test_a_link_that_is_not_wanted_is_told(store: Store, wanted: Spec) -> None:
    with pytest.raises(ChainError, match=r"cube\.toml wants no link 'layer4'") as caught:
        explain(store, wanted, "layer4")
    assert "base, layer1, layer2, layer5" in caught.value.hint


def test_a_program_gets_all_of_it(store: Store, wanted: Spec) -> None:
    links = build(store, wanted, layer1=change("deploy/roles/users.py"))
    found = fates(store, wanted)
    assert found["layer1"].as_json() == {
        "name": "layer1",
        "key": links["layer1"].key,
        "reused": False,
        "below": "",
        "reasons": ["deploy/roles/users.py changed"],
        "text": "made anew: deploy/roles/users.py changed",
    }
    assert found["layer2"].as_json()["below"] == "layer1"
