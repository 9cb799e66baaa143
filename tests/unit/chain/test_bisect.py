"""The link at which a command starts to fail."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from cube.chain import bisect
from cube.chain.bisect_probe import Probe
from cube.chain.store.link import Link
from cube.chain.store.links import Store
from cube.runtime import log
from cube.runtime.errors import ChainError, CubeError
from tests.unit.chain import samples


@pytest.fixture
def links(store: Store) -> list[Link]:
    """A base and layers 1 to 5."""
    return samples.add_chain(store, top=5)


def codes(given: Mapping[str, int | None]) -> Callable[[Link], Probe]:
    """Return what tries a command whose exit code is known for each link."""
    return lambda link: Probe(link=link, code=given[link.name], output="a\nthe last word\n")


def tried(found: bisect.Found) -> list[str]:
    return [probe.link.name for probe in found.probes]


NAMES = ["base", "layer1", "layer2", "layer3", "layer4", "layer5"]


@pytest.mark.parametrize("first", [1, 2, 3, 4, 5])
def test_the_first_bad_layer_is_found_in_few_boots(links: list[Link], first: int) -> None:
    given = {name: int(at >= first) for at, name in enumerate(NAMES)}
    found = bisect.find(links, codes(given))
    assert found.suspects == (links[first],)
    assert found.good == links[first - 1]
    assert tried(found)[:2] == ["layer5", "base"]
    assert len(found.probes) <= 5
    assert len(set(tried(found))) == len(found.probes)


def test_every_pattern_of_untestable_links_ends_in_the_truth(links: list[Link]) -> None:
    for first in range(1, 6):
        for hidden in itertools.product([False, True], repeat=4):
            given = {
                name: 125 if 0 < at < 5 and hidden[at - 1] else int(at >= first)
                for at, name in enumerate(NAMES)
            }
            found = bisect.find(links, codes(given))
            assert links[first] in found.suspects
            assert given[found.good.name] == 0
            assert given[found.suspects[-1].name] == 1
            assert all(given[link.name] == 125 for link in found.suspects[:-1])


@pytest.mark.parametrize("code", [1, 2, 126, 127, 255, None, -1])
def test_every_other_code_and_no_end_are_bad(links: list[Link], code: int | None) -> None:
    given = {name: code if at >= 3 else 0 for at, name in enumerate(NAMES)}
    assert bisect.find(links, codes(given)).suspects == (links[3],)


def test_a_command_that_succeeds_everywhere_is_told_at_once(links: list[Link]) -> None:
    with pytest.raises(CubeError, match="succeeds everywhere: also on layer5"):
        bisect.find(links, codes({"layer5": 0}))


def test_a_command_that_fails_at_base_is_told(links: list[Link]) -> None:
    with pytest.raises(CubeError, match="fails already at base"):
        bisect.find(links, codes({"layer5": 1, "base": 127}))


@pytest.mark.parametrize("given", [{"layer5": 125}, {"layer5": 1, "base": 125}])
def test_an_end_that_cannot_be_tested_is_told(links: list[Link], given: dict[str, int]) -> None:
    with pytest.raises(CubeError, match="cannot tell at"):
        bisect.find(links, codes(given))


@pytest.mark.parametrize("count", [0, 1])
def test_there_must_be_layers(links: list[Link], count: int) -> None:
    with pytest.raises(ChainError, match="no layers to search"):
        bisect.find(links[:count], codes({}))


def test_what_happened_is_told_as_it_happens(links: list[Link]) -> None:
    told: list[log.Event] = []
    with log.listening(told.append), contextlib.suppress(CubeError):
        bisect.find(links, codes({"layer5": None, "base": 3}))
    texts = [event.text for event in told if event.kind == "info"]
    assert texts == [
        f"layer5 {links[5].short}: fails (no end in time, 0.0 s): the last word",
        f"base {links[0].short}: fails (exit code 3, 0.0 s): the last word",
    ]


def test_the_summary_says_what_to_do_next(store: Store) -> None:
    base = samples.add_base(store)
    layer1 = samples.add_layer(store, 1, base, layer1_roles=["users", "docker"])
    found = bisect.find([base, layer1], codes({"base": 0, "layer1": 1}))
    text = found.summary()
    assert f"the first bad layer is layer1 {layer1.short} (users, docker)" in text
    assert f"the last good one is base {base.short}" in text
    for words in ("cube up --at layer1", "cube rollback base", "deploy/roles/docker.py"):
        assert words in text
    data = found.as_json()
    assert data["first_bad"] == {
        "name": "layer1",
        "key": layer1.key,
        "roles": ["users", "docker"],
    }


def test_suspects_are_all_named(links: list[Link]) -> None:
    given = {"base": 0, "layer1": 0, "layer2": 125, "layer3": 125, "layer4": 1, "layer5": 1}
    found = bisect.find(links, codes(given))
    assert samples.names(list(found.suspects)) == ["layer2", "layer3", "layer4"]
    assert found.as_json()["first_bad"] is None
    assert "only the last could be tested" in found.summary()


def test_the_answer_holds_for_skipped_layers_left_out(store: Store, tmp_path: Path) -> None:
    def chain() -> Iterator[Link]:
        yield samples.add_base(store)
        yield samples.add_layer(store, 1, store.named("base"))
        samples.skip_layer(store, 2, store.named("layer1"))
        yield samples.add_layer(store, 5, store.named("layer1"))

    *_, top = chain()
    store.set_head(top)
    assert samples.names(store.current()) == ["base", "layer1", "layer5"]
