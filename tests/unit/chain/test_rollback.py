"""Another link as the head."""

import pytest

from cube.chain.rollback import rollback
from cube.chain.store.links import Store
from cube.runtime.errors import ChainError
from tests.unit.chain import samples


def aside(store: Store) -> list[str]:
    return [link.name for link in store.links() if link.aside]


def test_what_is_above_is_set_aside(chain: Store) -> None:
    done = rollback(chain, "layer1")
    assert chain.head == done.head == chain.named("layer1")
    assert aside(chain) == samples.names(list(done.aside)) == ["layer2", "layer3"]
    for link in done.aside:
        assert chain.find(link.name, link.key) is None


def test_it_is_taken_back_as_long_as_it_is_there(chain: Store) -> None:
    top = chain.named("layer3")
    rollback(chain, "layer1")
    done = rollback(chain, "layer3")
    assert chain.head == top
    assert samples.names(list(done.back)) == ["layer2", "layer3"]
    assert aside(chain) == []


def test_half_of_it_is_taken_back(chain: Store) -> None:
    rollback(chain, "base")
    rollback(chain, "layer2")
    assert aside(chain) == ["layer3"]


def test_what_was_set_aside_outranks_a_newer_link_of_another_chain(chain: Store) -> None:
    mine = chain.named("layer3")
    rollback(chain, "layer2")
    samples.add_layer(chain, 3, chain.named("layer1"), other=True)
    assert rollback(chain, "layer3").head == mine


def test_a_link_of_another_chain_is_named_by_its_key(chain: Store) -> None:
    other = samples.add_layer(chain, 2, chain.named("base"), other=True)
    done = rollback(chain, other.short)
    assert chain.head == other
    assert aside(chain) == []
    assert done.aside == done.back == ()


def test_skipped_layers_go_with_what_they_stand_on(store: Store) -> None:
    layer1 = samples.add_chain(store, top=1)[-1]
    samples.skip_layer(store, 2, layer1)
    store.set_head(samples.add_layer(store, 3, layer1))
    rollback(store, "layer1")
    assert aside(store) == ["layer2", "layer3"]
    rollback(store, "layer3")
    assert aside(store) == []
    rollback(store, "layer3")
    assert aside(store) == []


def test_a_rollback_that_was_cut_off_is_finished_by_the_next(
    chain: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(store: Store, link: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_head", die)
        with pytest.raises(KeyboardInterrupt):
            rollback(chain, "layer1")
    done = rollback(chain, "layer1")
    assert chain.head == chain.named("layer1")
    assert samples.names(list(done.aside)) == ["layer2", "layer3"]


def test_a_link_that_is_not_there_is_told(chain: Store) -> None:
    with pytest.raises(ChainError, match="there is no link 'layer5'") as caught:
        rollback(chain, "layer5")
    assert "base, layer1, layer2, layer3" in caught.value.hint
    assert aside(chain) == []


def test_a_skipped_layer_cannot_be_the_head(store: Store) -> None:
    samples.skip_layer(store, 2, samples.add_chain(store, top=1)[-1])
    with pytest.raises(ChainError, match="layer2 has no disk: it was skipped, no GPU"):
        rollback(store, "layer2")


def test_there_is_no_link_yet(store: Store) -> None:
    with pytest.raises(ChainError, match="there is no link") as caught:
        rollback(store, "layer2")
    assert "cube build" in caught.value.hint
