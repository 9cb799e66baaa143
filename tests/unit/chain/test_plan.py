"""What a build takes over, what it makes, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cube.chain import refresh
from cube.chain.key import keys
from cube.chain.plan import Planner
from cube.chain.store.integrity import damaged
from cube.chain.store.link import RECORD, LayerRecord, Link
from cube.chain.store.links import Store
from cube.runtime.errors import BusyError
from tests.unit.chain import samples
from tests.unit.chain.project import spec
from tests.unit.chain.samples import names

ALL = ("base", "layer1", "layer2", "layer3", "layer4", "layer5")
GPU_LAYERS = (2, 3, 4)
GPU = "10de:2b85"


def stamp(**ago: int) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).strftime(refresh.FORMAT)


@pytest.fixture
def planner(store: Store) -> Planner:
    return Planner(spec=spec(), store=store)


def build(planner: Planner, *, supply: str = "", upto: int = 5) -> list[Link]:
    """Do what a build does: take over what fits, and make the rest; no GPU is there."""
    plan, store = planner.plan(), planner.store
    links = list(plan.links) or [build_base(planner, supply or plan.refresh)]
    parent = [link for link in links if not link.skipped][-1]
    for layer in [layer for layer in planner.layers if layer <= upto][len(links) - 1 :]:
        links.append(build_layer(planner, layer, parent))
        parent = parent if links[-1].skipped else links[-1]
    store.set_head(parent)
    return links


def build_base(planner: Planner, supply: str) -> Link:
    wanted = keys.base_ingredients(planner.spec, refresh=supply)
    planner.store.forget(wanted)
    samples.create_disk(planner.store.begin())
    samples.write(planner.store.unfinished, supply)
    return planner.store.freeze(wanted, seconds=60)


def build_layer(planner: Planner, layer: int, parent: Link) -> Link:
    wanted, store = planner.ingredients(layer, parent), planner.store
    store.forget(wanted)
    if layer in GPU_LAYERS and not planner.gpus:
        return store.skip(wanted, LayerRecord(layer=layer, skipped="no GPU"))
    samples.write(store.extend(parent), wanted["name"])
    return store.freeze(wanted, seconds=5, layer=samples.record(layer))


# -- what is taken over


def test_where_nothing_is_all_is_to_be_made(planner: Planner) -> None:
    plan = planner.plan()
    assert (plan.links, plan.head, plan.todo) == ((), None, ALL)
    assert plan.why == ("there was none yet",)
    assert refresh.parse(plan.refresh)


def test_where_all_is_nothing_is_to_be_made(planner: Planner) -> None:
    links = build(planner)
    plan = planner.plan()
    assert plan.links == tuple(links)
    assert (plan.todo, plan.why, plan.head) == ((), (), links[-1])
    assert {link.refresh for link in links} == {plan.refresh}


def test_skipped_layers_are_passed_over(planner: Planner) -> None:
    _, layer1, *skipped, layer5 = build(planner)
    assert [link.skipped for link in skipped] == ["no GPU"] * 3
    assert {link.parent for link in [*skipped, layer5]} == {layer1.key}


def test_a_skipped_layer_is_never_the_head(store: Store) -> None:
    planner = Planner(spec=spec(**{"layers.enabled": (1, 2)}), store=store)
    links = build(planner)
    assert names(links) == ["base", "layer1", "layer2"]
    assert planner.plan().head == links[1]


def test_a_build_that_was_cut_off_goes_on(planner: Planner) -> None:
    done = build(planner, upto=1)
    plan = planner.plan()
    assert (plan.links, plan.todo) == (tuple(done), ALL[2:])
    assert plan.why == ("there was none yet",)


@pytest.mark.parametrize(
    ("path", "value", "lowest", "why"),
    [
        ("image.version", "9.9.9", 5, "cube.toml image_version: 0.1.0 -> 9.9.9"),
        ("image.timezone", "Asia/Tokyo", 1, "cube.toml timezone: Etc/UTC -> Asia/Tokyo"),
        ("gpu.mode", "skip", 2, "cube.toml gpu_mode: auto -> skip"),
        ("os.debian.kernel", "cloud", 0, "cube.toml os.kernel: generic -> cloud"),
    ],
)
def test_a_change_makes_anew_from_there_on(
    planner: Planner, path: str, value: str, lowest: int, why: str
) -> None:
    links = build(planner)
    plan = replace(planner, spec=spec(**{path: value})).plan()
    assert plan.links == tuple(links[:lowest])
    assert plan.todo == ALL[lowest:]
    assert why in plan.why


def test_a_change_that_is_taken_back_needs_nothing(planner: Planner) -> None:
    links = build(planner)
    build(replace(planner, spec=spec(**{"image.timezone": "Asia/Tokyo"})))
    assert planner.plan().links == tuple(links)


def test_a_layer_that_is_switched_off_is_left_out(planner: Planner) -> None:
    base, layer1, *_, layer5 = build(planner)
    plan = replace(planner, spec=spec(**{"layers.enabled": (5, 1)})).plan()
    assert (plan.links, plan.todo) == ((base, layer1, layer5), ())


def test_a_gpu_that_came_makes_its_layers(planner: Planner) -> None:
    build(planner)
    planner = replace(planner, gpus=[GPU])
    assert planner.plan().todo == ALL[2:]
    assert planner.plan().why == (f'cube.toml gpus: [] -> ["{GPU}"]',)
    links = build(planner)
    assert [link.skipped for link in links] == [""] * 6
    assert [link.parent for link in links[1:]] == [link.key for link in links[:-1]]
    assert planner.plan().todo == ()


def test_of_several_the_nearest_says_why(planner: Planner) -> None:
    for values in (
        {"image.timezone": "Asia/Tokyo"},
        {"image.timezone": "Asia/Tokyo", "image.locale": "C.UTF-8", "docker.source": "docker"},
    ):
        build(replace(planner, spec=spec(**values)), upto=1)
    plan = replace(planner, spec=spec(**{"image.timezone": "Asia/Dubai"})).plan()
    assert plan.why == ("cube.toml timezone: Asia/Tokyo -> Asia/Dubai",)


# -- the supply of packages


def test_a_supply_that_is_too_old_is_not_used(planner: Planner) -> None:
    old = stamp(hours=25)
    build(planner, supply=old)
    plan = planner.plan()
    assert plan.todo == ALL
    assert len(plan.why) == 1
    assert old in plan.why[0]
    assert replace(planner, spec=spec(**{"build.refresh": "2 days"})).plan().todo == ()


def test_of_two_supplies_the_newest_is_used(planner: Planner) -> None:
    older, newer = stamp(hours=9), stamp(hours=3)
    build(planner, supply=older)
    newest = build_base(planner, newer)
    assert planner.plan().links == (newest,)
    assert planner.plan().refresh == newer


def test_an_older_supply_is_used_where_the_newest_does_not_fit(planner: Planner) -> None:
    links = build(planner, supply=stamp(hours=9))
    other = replace(planner, spec=spec(**{"image.disk_size": 9000}))
    build_base(other, stamp(hours=3))
    assert planner.plan().links == tuple(links)


@pytest.mark.parametrize("pin", ["never", "2026-11-23"])
def test_a_pinned_supply_is_used_at_any_age(planner: Planner, pin: str) -> None:
    pinned = replace(planner, spec=spec(**{"build.refresh": pin}))
    links = build(pinned)
    assert {link.refresh for link in links} == {pin}
    assert pinned.plan().todo == ()
    assert planner.plan().todo == ALL


@pytest.mark.parametrize("supply", ["1 day", "never"])
def test_fresh_leaves_all_aside(planner: Planner, supply: str) -> None:
    planner = replace(planner, spec=spec(**{"build.refresh": supply}))
    links = build(planner)
    plan = replace(planner, fresh=True).plan()
    assert (plan.links, plan.todo) == ((), ALL)
    assert "--fresh" in plan.why[0]
    assert all(link in planner.store.links() for link in links)


# -- links that must not be used


def test_what_was_set_aside_is_made_anew(planner: Planner) -> None:
    links = build(planner)
    planner.store.set_aside(links[5:])
    plan = planner.plan()
    assert (plan.links, plan.todo) == (tuple(links[:5]), ("layer5",))
    assert plan.why == ("it was set aside by a rollback",)
    assert not build(planner)[-1].aside
    assert planner.plan().todo == ()


def test_a_record_that_cannot_be_read_is_made_anew(planner: Planner, warnings: list[str]) -> None:
    links = build(planner)
    (links[1].folder / RECORD).write_text("{")
    plan = planner.plan()
    assert (plan.links, plan.todo, plan.why) == ((links[0],), ALL[1:], ("it is damaged",))
    assert len(warnings) == 1


def test_trust_takes_over_what_is_whole(planner: Planner, warnings: list[str]) -> None:
    build(planner)
    assert planner.trusted() == planner.plan()
    assert warnings == []


def test_a_damaged_link_is_removed_and_made_anew_from_its_parent(
    store: Store, warnings: list[str]
) -> None:
    planner = Planner(spec=spec(), store=store, gpus=[GPU])
    links = build(planner)
    samples.flip(links[2].disk, -1)
    plan = planner.trusted()
    assert (plan.links, plan.todo) == (tuple(links[:2]), ALL[2:])
    assert store.links() == links[:2]
    [said] = warnings
    assert said.startswith(f"layer2 {links[2].short} is damaged and is made anew: disk.qcow2 has")
    assert plan.why[0].startswith("it was damaged: disk.qcow2 has the sha256")
    again = build(planner)
    assert [link.key for link in again] == [link.key for link in links]
    assert damaged(again, store.links()) == []
    assert planner.trusted().todo == ()


def test_every_damaged_link_is_named(store: Store, warnings: list[str]) -> None:
    planner = Planner(spec=spec(), store=store, gpus=[GPU])
    links = build(planner)
    for link in (links[4], links[1]):
        samples.flip(link.disk, 0)
    assert planner.trusted().todo == ALL[1:]
    assert store.links() == links[:1]
    assert [said.split()[0] for said in warnings] == ["layer1", "layer4"]


def test_a_damaged_base_leaves_an_older_one(planner: Planner) -> None:
    older = build(planner, supply=stamp(hours=9))
    newest = build_base(planner, stamp(hours=3))
    samples.flip(newest.disk, 0)
    assert planner.trusted().links == tuple(older)
    assert newest not in planner.store.links()


def test_what_is_not_taken_over_is_not_read(planner: Planner, warnings: list[str]) -> None:
    other = replace(planner, spec=spec(**{"image.timezone": "Asia/Tokyo"}))
    beside = build(other)[1]
    build(planner)
    samples.flip(beside.disk, 0)
    assert planner.trusted().todo == ()
    assert beside in planner.store.links()
    assert warnings == []


def test_a_damaged_link_that_is_read_stops_the_build(planner: Planner) -> None:
    links = build(planner)
    samples.flip(links[1].disk, 0)
    with planner.store.reading(), pytest.raises(BusyError):
        planner.trusted()
    assert planner.store.links() == links
