"""The links of a store as a table."""

import json
import shutil

from cube.chain.store import space, table
from cube.chain.store.links import Store
from cube.runtime import units
from tests.unit.chain import samples


def marks(store: Store) -> dict[str, list[str]]:
    return {row.link.name: row.marks for row in table.rows(store)}


def test_each_link_says_what_it_is_to_the_head(store: Store) -> None:
    base, layer1 = samples.add_chain(store, top=1)
    samples.skip_layer(store, 2, layer1)
    samples.add_layer(store, 3, base)
    assert marks(store) == {
        "base": ["current"],
        "layer1": ["head"],
        "layer2": ["current", "skipped: no GPU"],
        "layer3": [],
    }


def test_a_link_that_was_set_aside_is_not_current(store: Store) -> None:
    base, layer1 = samples.add_chain(store, top=1)
    skipped = samples.skip_layer(store, 2, base)
    store.set_head(base)
    store.set_aside([layer1, skipped])
    assert marks(store) == {
        "base": ["head"],
        "layer1": ["set aside"],
        "layer2": ["set aside", "skipped: no GPU"],
    }


def test_the_newest_link_stands_for_a_head_that_is_gone(chain: Store) -> None:
    (chain.folder / "head").unlink()
    assert samples.names(table.in_use(chain)) == ["base", "layer1", "layer2", "layer3"]


def test_what_is_left_of_a_chain_is_shown(chain: Store) -> None:
    shutil.rmtree(chain.named("layer1").folder)
    assert marks(chain) == {"base": [], "layer2": ["current"], "layer3": ["head"]}


def test_a_line_says_when_how_long_and_how_large(chain: Store) -> None:
    rows = table.rows(chain)
    link = rows[1].link
    name, key, parent, made, took, size, _ = rows[1].cells()
    assert (name, key, parent) == ("layer1", link.key[:12], link.parent[:12])
    assert made == table.made(link)
    assert took == "12 s"
    assert size == units.size(space.used_bytes(link)) != "0 bytes"


def test_columns_stand_below_each_other(chain: Store) -> None:
    rows = table.rows(chain)
    lines = table.aligned([table.HEADINGS, *(row.cells() for row in rows)])
    at = lines[0].index("PARENT")
    assert [line[at : at + 12].strip() for line in lines[1:]] == [
        row.link.parent[:12] or "-" for row in rows
    ]


def test_a_program_gets_all_of_it(chain: Store) -> None:
    data = table.rows(chain)[-1].as_json()
    record = json.loads((chain.named("layer3").folder / "link.json").read_text())
    assert record.items() <= data.items()
    assert (data["head"], data["current"], data["aside"]) == (True, True, False)
