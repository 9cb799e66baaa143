"""The links of a store as a table."""

import json
import shutil

from cube.chain.store import space, table
from cube.chain.store.links import Store
from tests.unit.chain import samples


def marks(store: Store) -> dict[str, list[str]]:
    return {row.link.name: row.marks for row in table.rows(store)}


def test_each_link_says_what_it_is_to_the_head(store: Store) -> None:
    base, layer1 = samples.add_chain(store, top=1)
    samples.skip_layer(store, 2, layer1)
    samples.add_layer(store, 3, base)
    assert marks(store) == {
        "base": ["current"], "layer1": ["head"], "layer2": ["current", "skipped: no GPU"],
        "layer3": [],
    }  # fmt: skip


def test_a_link_that_was_set_aside_is_not_current(store: Store) -> None:
    base, layer1 = samples.add_chain(store, top=1)
    skipped = samples.skip_layer(store, 2, base)
    store.set_head(base)
    store.set_aside([layer1, skipped])
    assert marks(store) == {
        "base": ["head"], "layer1": ["set aside"], "layer2": ["set aside", "skipped: no GPU"],
    }  # fmt: skip


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
    assert size == space.words(space.used_bytes(link)) != "0 bytes"


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


def test_sizes_are_told_in_words() -> None:
    told = {0: "0 bytes", 1023: "1023 bytes", 12 * 1024: "12 KiB", 1536 * 1024: "1.5 MiB",
            601 * 1024**2: "601 MiB", 17 * 1024**3 // 10: "1.7 GiB"}  # fmt: skip
    assert {size: space.words(size) for size in told} == told


def test_a_link_that_goes_while_it_is_looked_at_takes_nothing(chain: Store) -> None:
    link = chain.named("layer3")
    shutil.rmtree(link.folder)
    assert space.used_bytes(link) == 0
