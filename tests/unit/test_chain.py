"""Links of the chain: what is whole has its name, and nothing else."""

from pathlib import Path

import pytest

from cube import disk, run
from cube.chain import BASE, Chain
from cube.errors import CubeError
from cube.layers import LayerRecord, read_records


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    chain = Chain(folder=tmp_path)
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", chain.path(BASE), "64M"])
    return chain


def test_a_link_has_its_name_only_when_it_is_frozen(chain: Chain) -> None:
    chain.extend(BASE)
    assert chain.links() == [BASE]
    assert chain.unfinished.exists()
    chain.freeze("layer1")
    assert chain.links() == [BASE, "layer1"]
    assert not chain.unfinished.exists()


def test_a_frozen_link_is_read_only_and_stands_on_its_parent(chain: Chain) -> None:
    chain.extend(BASE)
    link = chain.freeze("layer1")
    assert link.stat().st_mode & 0o222 == 0
    assert disk.info(link).backing == chain.path(BASE)


def test_a_new_link_replaces_what_a_failed_step_left(chain: Chain) -> None:
    chain.extend(BASE).write_bytes(b"broken")
    assert disk.info(chain.extend(BASE)).format == "qcow2"


def test_links_are_in_the_order_of_the_layers(chain: Chain) -> None:
    for name in ("layer5", "layer1"):
        chain.extend(BASE)
        chain.freeze(name)
    assert chain.links() == [BASE, "layer1", "layer5"]


def test_cutting_keeps_the_head_and_what_is_below(chain: Chain) -> None:
    for parent, name in ((BASE, "layer1"), ("layer1", "layer5")):
        chain.extend(parent)
        chain.freeze(name)
        chain.record(name).write_text("{}")
    chain.extend("layer5")
    chain.cut("layer1")
    assert chain.links() == [BASE, "layer1"]
    assert not chain.record("layer5").exists()
    assert not chain.unfinished.exists()
    chain.cut(None)
    assert chain.links() == []


def test_an_unknown_link_is_told_with_those_that_are_there(chain: Chain) -> None:
    with pytest.raises(CubeError, match="no link 'layer3'") as caught:
        chain.require("layer3")
    assert caught.value.hint == "links: base"


def test_a_skipped_layer_is_remembered_and_forgotten_with_the_links_above(chain: Chain) -> None:
    records = [
        LayerRecord(layer=1, operations=47),
        LayerRecord(layer=2, skipped="no GPU"),
        LayerRecord(layer=5, operations=18),
    ]
    for record in records:
        record.write(chain.record(f"layer{record.layer}"))
    assert read_records(chain, [1, 2, 3, 5]) == records
    chain.cut("layer1")
    assert read_records(chain, [1, 2, 3, 5]) == records[:1]
