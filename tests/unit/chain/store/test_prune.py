"""Removing links that nobody needs any more."""

import os
from pathlib import Path

import pytest

from cube.chain.rollback import rollback
from cube.chain.store import prune, space
from cube.chain.store.link import Link
from cube.chain.store.links import Store
from cube.chain.store.prune import Rule
from cube.disks import qcow2
from cube.machines import Endpoint, record
from cube.machines.record import MachineRecord
from cube.runtime.errors import BusyError, CubeError
from tests.unit.chain import samples


@pytest.fixture
def machines(tmp_path: Path) -> Path:
    return tmp_path / "machines"


@pytest.fixture
def three(chain: Store) -> tuple[Store, Link, Link]:
    """Three chains of a base, of which the newest is the head's: up to layer 3, and two more."""
    base = chain.named("base")
    second = samples.add_layer(chain, 1, base, nth=2)
    third = samples.add_layer(chain, 1, base, nth=3)
    chain.set_head(third)
    return chain, second, third


def left(store: Store) -> list[str]:
    return samples.names(store.links())


def boot(machines: Path, disk_file: Path, *, alive: bool = True) -> None:
    """Write the record of a machine that is up, or was."""
    folder = machines / "up"
    folder.mkdir(parents=True)
    me = record.identify(os.getpid())
    life = me if alive else record.ProcessId(pid=me.pid, started="long ago")
    access = Endpoint(host="127.0.0.1", port=1, user="u", key_file=folder, known_hosts=folder)
    found = MachineRecord(
        name="up",
        kind="vm",
        disk=disk_file,
        run_dir=folder,
        endpoint=access,
        owner=me,
        detached=True,
        life=life,
    )
    record.write(found)


def test_the_newest_chains_stay(three: tuple[Store, Link, Link], machines: Path) -> None:
    store, second, third = three
    found = prune.prune(store, machines, Rule(keep=2))
    assert samples.names(list(found.links)) == ["layer1", "layer2", "layer3"]
    assert [link.key for link in store.links()][1:] == [second.key, third.key]
    assert found.left_bytes == space.total_bytes(store.links())
    assert found.freed_bytes > 0
    prune.prune(store, machines, Rule(keep=1))
    assert [link.key for link in store.links()][1:] == [third.key]


def test_the_chain_of_the_head_stays_however_old(
    three: tuple[Store, Link, Link], machines: Path
) -> None:
    store = three[0]
    store.set_head(store.named("layer3"))
    prune.prune(store, machines, Rule(keep=1))
    assert left(store) == ["base", "layer1", "layer2", "layer3", "layer1"]
    prune.prune(store, machines, Rule(keep=0))
    assert left(store) == ["base", "layer1", "layer2", "layer3"]


def test_what_a_rollback_set_aside_goes_last(chain: Store, machines: Path) -> None:
    rollback(chain, "layer1")
    assert prune.prune(chain, machines, Rule(keep=1)).links == ()
    prune.prune(chain, machines, Rule(keep=0))
    assert left(chain) == ["base", "layer1"]


def test_a_chain_with_a_gap_is_no_chain(chain: Store, machines: Path) -> None:
    samples_top = samples.add_layer(chain, 1, chain.named("base"), other=True)
    chain.set_head(samples_top)
    gone = chain.named("layer2").folder
    for file in gone.iterdir():
        file.unlink()
    gone.rmdir()
    prune.prune(chain, machines, Rule(keep=2))
    assert left(chain) == ["base", "layer1", "layer1"]


def test_a_skipped_layer_goes_with_what_it_was_skipped_on(
    three: tuple[Store, Link, Link], machines: Path
) -> None:
    store, second, third = three
    samples.skip_layer(store, 2, second)
    stays = samples.skip_layer(store, 3, third)
    prune.prune(store, machines, Rule(keep=1))
    assert [link.key for link in store.links()][1:] == [third.key, stays.key]


def test_the_oldest_tops_go_until_the_rest_fits(
    three: tuple[Store, Link, Link], machines: Path
) -> None:
    store, second, third = three
    total = space.total_bytes(store.links())
    found = prune.prune(store, machines, Rule(max_bytes=total - 1))
    assert samples.names(list(found.links)) == ["layer3"]
    assert found.left_bytes == space.total_bytes(store.links()) < total
    found = prune.prune(store, machines, Rule(max_bytes=0))
    assert samples.names(list(found.links)) == ["layer2", "layer1", "layer1"]
    assert second in found.links
    assert [link.key for link in store.links()] == [third.parent, third.key]
    with pytest.raises(CubeError, match="are left, more than 0 bytes") as caught:
        prune.require(found, Rule(max_bytes=0))
    assert "cube down" in caught.value.hint


def test_a_store_that_fits_is_left_alone(chain: Store, machines: Path) -> None:
    found = prune.prune(chain, machines, Rule(max_bytes=space.total_bytes(chain.links())))
    prune.require(found, Rule(max_bytes=10**9))
    assert found.links == ()
    assert found.freed_bytes == 0


@pytest.mark.parametrize("rule", [Rule(keep=0), Rule(max_bytes=0)])
def test_what_a_machine_stands_on_stays(
    three: tuple[Store, Link, Link], machines: Path, tmp_path: Path, rule: Rule
) -> None:
    store, second, third = three
    copy = tmp_path / "copy.qcow2"
    qcow2.create_overlay(copy, second.disk)
    boot(machines, copy)
    prune.prune(store, machines, rule)
    assert [link.key for link in store.links()][1:] == [second.key, third.key]


def test_a_machine_that_has_died_needs_nothing(
    three: tuple[Store, Link, Link], machines: Path, tmp_path: Path
) -> None:
    store, second, third = three
    copy = tmp_path / "copy.qcow2"
    qcow2.create_overlay(copy, second.disk)
    boot(machines, copy, alive=False)
    prune.prune(store, machines, Rule(keep=0))
    assert [link.key for link in store.links()][1:] == [third.key]


def test_choosing_removes_nothing(three: tuple[Store, Link, Link], machines: Path) -> None:
    store, _, _ = three
    before = left(store)
    found = prune.choose(store, machines, Rule(keep=1, max_bytes=0))
    assert len(found.links) == 4
    assert left(store) == before


def test_nothing_is_removed_while_somebody_reads(
    three: tuple[Store, Link, Link], machines: Path
) -> None:
    store, _, _ = three
    before = left(store)
    with store.reading(), pytest.raises(BusyError):
        prune.prune(store, machines, Rule(keep=1))
    assert left(store) == before
