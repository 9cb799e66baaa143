"""Looking for links in the store: by key, by name, from the head down."""

import dataclasses
import shutil

import pytest

from cube.chain.store.link import RECORD
from cube.chain.store.links import Store
from cube.runtime.errors import ChainError
from tests.unit.chain import samples
from tests.unit.chain.samples import names


def test_a_link_is_found_by_its_name_and_whole_key(chain: Store) -> None:
    layer2 = chain.links()[2]
    assert chain.find("layer2", layer2.key) == layer2
    assert chain.find("layer3", layer2.key) is None
    assert chain.find("layer2", "0" * 64) is None
    assert chain.find("layer2", layer2.key[:12] + "0" * 52) is None


def test_a_link_is_had_by_its_key(chain: Store) -> None:
    assert chain.by_key(chain.links()[1].key) == chain.links()[1]
    with pytest.raises(ChainError, match="there is no link 000000000000 in"):
        chain.by_key("0" * 64)


def test_a_lineage_goes_down_to_the_base(chain: Store) -> None:
    links = chain.links()
    other = samples.add_layer(chain, 1, links[0], mood="other")
    assert chain.lineage(links[3]) == links
    assert chain.lineage(other) == [links[0], other]


def test_a_lineage_with_a_gap_names_what_is_missing(chain: Store) -> None:
    links = chain.links()
    shutil.rmtree(links[1].folder)
    with pytest.raises(ChainError, match=f"layer2 .* below it, {links[1].short}, is missing"):
        chain.lineage(links[3])


def test_a_forged_circle_ends(chain: Store) -> None:
    top = chain.links()[-1]
    forged = dataclasses.replace(top, parent=top.key)
    (top.folder / RECORD).write_text(forged.render())
    with pytest.raises(ChainError, match="is missing"):
        chain.lineage(forged)
    assert chain.descendants(forged) == [forged]


def test_descendants_are_all_that_stand_on_a_link(chain: Store) -> None:
    base, layer1, layer2, layer3 = chain.links()
    beside = samples.add_layer(chain, 2, layer1, mood="other")
    skipped = samples.skip_layer(chain, 3, beside)
    assert chain.descendants(layer3) == []
    assert chain.descendants(layer1) == [layer2, beside, layer3, skipped]
    assert names(chain.descendants(base))[0] == "layer1"


def test_before_the_first_build_there_is_no_head(store: Store) -> None:
    assert store.head is None
    assert store.current() == []
    with pytest.raises(ChainError, match="there is no link yet") as error:
        store.named("")
    assert error.value.hint == "make the first: cube build"


def test_the_head_stays_where_it_was_set(chain: Store) -> None:
    links = chain.links()
    assert chain.head == links[3]
    chain.set_head(links[1])
    assert Store(folder=chain.folder).head == links[1]
    assert chain.current() == links[:2]
    assert chain.named("") == links[1]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0" * 64])
def test_without_a_head_the_newest_link_in_use_stands_for_the_image(
    chain: Store, content: bytes
) -> None:
    links = chain.links()
    samples.skip_layer(chain, 4, links[3])
    (chain.folder / "head").write_bytes(content)
    assert chain.head is None
    assert chain.current() == links
    chain.set_aside(links[2:])
    assert chain.named("") == links[1]


def test_a_head_that_was_removed_is_none(chain: Store) -> None:
    links = chain.links()
    chain.remove(links[2:])
    assert chain.head is None
    assert chain.named("") == links[1]


def test_a_name_means_the_link_of_the_head(chain: Store) -> None:
    base, layer1, *_ = chain.links()
    newer = samples.add_layer(chain, 1, base, mood="other")
    assert chain.named("layer1") == layer1
    chain.set_head(newer)
    assert chain.named("layer1") == newer
    assert chain.named("base") == base


def test_a_name_that_the_head_has_not_means_the_newest(chain: Store) -> None:
    base, _, layer2, _ = chain.links()
    chain.set_head(base)
    assert chain.named("layer2") == layer2
    newer = samples.add_layer(chain, 2, base, mood="other")
    assert chain.named("layer2") == newer


def test_the_beginning_of_a_key_names_a_link(chain: Store) -> None:
    for link in chain.links():
        assert chain.named(link.key[:8]) == link
        assert chain.named(link.key) == link


def test_three_letters_of_a_key_are_too_few(chain: Store) -> None:
    with pytest.raises(ChainError, match="there is no link"):
        chain.named(chain.links()[0].key[:3])


def test_what_is_not_there_is_told_with_what_is(chain: Store) -> None:
    skipped = samples.skip_layer(chain, 4, chain.links()[-1])
    there_is_none = "there is no link 'layer9' in"
    told = {"layer9": there_is_none, "layer4": "no GPU", skipped.key[:8]: "no GPU"}
    for name, words in told.items():
        with pytest.raises(ChainError, match=words) as error:
            chain.named(name)
        assert error.value.hint == "links: base, layer1, layer2, layer3"


def test_a_skipped_layer_is_told_with_its_reason(chain: Store) -> None:
    samples.skip_layer(chain, 4, chain.links()[-1])
    with pytest.raises(ChainError, match="layer4 has no disk, it was skipped: no GPU") as error:
        chain.named("layer4")
    assert error.value.hint == "links: base, layer1, layer2, layer3"
