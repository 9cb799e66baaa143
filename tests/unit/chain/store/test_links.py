"""A link's life in the store, on real disks."""

import errno
import itertools
import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from cube.chain.key import keys
from cube.chain.store import link
from cube.chain.store.integrity import damaged
from cube.chain.store.link import DISK, RECORD, Link
from cube.chain.store.links import Store
from cube.disks import qcow2
from cube.runtime import run
from cube.runtime.errors import BusyError, ChainError
from tests.unit.chain import samples
from tests.unit.chain.samples import names


def whole(store: Store) -> bool:
    links = store.links()
    return damaged(links, links) == []


# -- making links


def test_a_link_is_begun_frozen_and_found(store: Store) -> None:
    made = samples.add_base(store)
    assert store.links() == [made]
    assert made.folder == store.folder / f"base-{made.key[:12]}"
    assert made.key == keys.digest(samples.ingredients("base"))
    assert (made.size_bytes, made.seconds, made.layer) == (made.disk.stat().st_size, 30, None)
    assert link.read(made.folder) == made
    assert whole(store)


def test_a_frozen_disk_can_only_be_read(chain: Store) -> None:
    modes = {stat.S_IMODE(one.disk.stat().st_mode) for one in chain.links()}
    assert modes == {0o444}


def test_a_layer_stands_on_its_parent_by_a_relative_path(chain: Store) -> None:
    links = chain.links()
    for parent, child in samples.pairs(links):
        told = json.loads(run.run(qcow2.info_args(child.disk)).stdout)
        assert told["backing-filename"] == f"../{parent.folder.name}/{DISK}"
        assert child.parent == parent.key
    assert [one.layer.layer for one in links if one.layer] == [1, 2, 3]


def test_a_moved_chain_reads_through_to_its_base(store: Store, tmp_path: Path) -> None:
    def qemu_io(path: Path, command: str) -> str:
        return run.run(["qemu-io", "-f", "qcow2", "-c", command, path]).stdout

    samples.create_disk(store.begin())
    qemu_io(store.unfinished, "write -q -P 7 0 64k")
    base = store.freeze(samples.ingredients("base"), seconds=1)
    qemu_io(store.extend(base), "write -q -P 8 64k 64k")
    layer1 = store.freeze(samples.layer(1, base), seconds=1)
    store.folder.rename(tmp_path / "elsewhere")
    top = tmp_path / "elsewhere" / layer1.folder.name / DISK
    for command in ("read -P 7 0 64k", "read -P 8 64k 64k"):
        told = qemu_io(top, command)
        assert "read 65536/65536 bytes" in told
        assert "verification failed" not in told


def test_what_is_unfinished_is_no_link_and_stays_until_the_next_begins(chain: Store) -> None:
    before = chain.links()
    samples.write(chain.extend(before[-1]), "half")
    assert chain.unfinished.exists()
    assert chain.links() == before
    chain.prepare()
    assert chain.unfinished.exists()
    assert not chain.begin().exists()


def test_nothing_is_left_of_a_link_that_is_discarded(chain: Store) -> None:
    chain.extend(chain.links()[0])
    chain.discard()
    chain.discard()
    assert not chain.unfinished.parent.exists()


def test_a_full_disk_leaves_the_unfinished_link(
    chain: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = chain.links()[-1]
    chain.extend(parent)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            chain.freeze(samples.layer(4, parent), seconds=1)
    assert chain.unfinished.exists()
    assert len(chain.links()) == 4
    assert samples.add_layer(chain, 4, parent) in chain.links()


def test_a_link_is_on_the_medium_before_it_has_its_name(
    chain: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, steps = chain.links()[-1], list[str]()
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        steps.append(f"rename {source.name}")
        rename(source, target)

    chain.extend(parent)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    chain.freeze(samples.layer(4, parent), seconds=1)
    assert steps == [
        f"fsync {DISK}",
        f"fsync .{RECORD}.new",
        "fsync unfinished",
        "rename unfinished",
        "fsync chain",
    ]


def test_a_link_that_is_made_again_takes_the_place_of_the_first(chain: Store) -> None:
    base, layer1, *_ = chain.links()
    again = samples.add_layer(chain, 1, base)
    assert again.key == layer1.key
    assert again.created > layer1.created
    assert chain.links() == [base, again]
    assert whole(chain)


def test_a_skipped_layer_is_a_link_without_a_disk(chain: Store) -> None:
    top = chain.links()[-1]
    skipped = samples.skip_layer(chain, 4, top)
    assert chain.find("layer4", skipped.key) == skipped
    assert (skipped.skipped, skipped.parent) == ("no GPU", top.key)
    assert not skipped.disk.exists()
    assert sorted(path.name for path in skipped.folder.iterdir()) == [RECORD]
    assert samples.skip_layer(chain, 4, top).key == skipped.key
    with pytest.raises(ChainError, match="layer4 has no disk, it was skipped: no GPU"):
        chain.named("layer4")
    assert names(chain.links()).count("layer4") == 1


# -- the folder


def test_another_format_is_refused_and_left_as_it_is(chain: Store) -> None:
    (chain.folder / ".doomed-layer1-000000000000").mkdir()
    (chain.folder / "format").write_text("99\n")
    with pytest.raises(ChainError, match=f"format 99, this cube writes {keys.FORMAT}") as error:
        chain.prepare()
    assert f"rm -r {chain.folder}" in error.value.hint
    assert (chain.folder / ".doomed-layer1-000000000000").exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"1\n1\n"])
def test_a_damaged_format_is_refused(chain: Store, content: bytes) -> None:
    (chain.folder / "format").write_bytes(content)
    with pytest.raises(ChainError, match="this cube writes"):
        chain.prepare()


def test_a_prepared_store_is_prepared_again_without_a_change(chain: Store) -> None:
    before = sorted(chain.folder.rglob("*"))
    chain.prepare()
    assert sorted(chain.folder.rglob("*")) == before


def test_other_folders_and_files_are_no_links(chain: Store) -> None:
    before = chain.links()
    for name in ("lost+found", ".hidden-thing"):
        (chain.folder / name).mkdir()
    (chain.folder / "notes-of-mine").touch()
    assert chain.links() == before


def test_a_damaged_record_is_left_out_and_named_once(chain: Store, warnings: list[str]) -> None:
    links = chain.links()
    broken = links[2].folder / RECORD
    broken.write_text('{"name": "layer2"')
    for _ in range(2):
        assert names(chain.links()) == ["base", "layer1", "layer3"]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{broken}: cannot be read")
    assert "cube chain verify" in warnings[0]
    assert chain.find("layer2", links[2].key) is None
    assert links[2].folder in chain.folders()


# -- taking links away


def test_forgetting_takes_what_stands_on_a_link_along(chain: Store) -> None:
    base, layer1, *_ = chain.links()
    beside = samples.add_layer(chain, 1, base, mood="other")
    chain.forget(layer1.ingredients)
    assert chain.links() == [base, beside]
    chain.forget(layer1.ingredients)
    assert chain.links() == [base, beside]


def test_a_damaged_link_is_forgotten_by_its_ingredients(chain: Store) -> None:
    base, layer1, *_ = chain.links()
    (layer1.folder / RECORD).unlink()
    chain.forget(layer1.ingredients)
    assert chain.links() == [base]
    assert chain.folders() == [base.folder]


def test_what_stood_on_a_link_that_is_gone_is_not_left_for_the_next(chain: Store) -> None:
    """The same key made again has other bytes, on which no older overlay fits."""
    base, layer1, *_ = chain.links()
    shutil.rmtree(layer1.folder)
    chain.forget(layer1.ingredients)
    assert chain.links() == [base]
    samples.add_layer(chain, 2, samples.add_layer(chain, 1, base))
    shutil.rmtree(base.folder)
    made = samples.add_base(chain)
    assert chain.links() == [made]


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2, 3), 2)))
def test_the_highest_goes_first_whatever_the_order(
    chain: Store, order: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    links, gone = chain.links(), list[str]()
    rename = os.rename

    def note(source: Path, target: Path) -> None:
        gone.append(source.name.partition("-")[0])
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", note)
        chain.remove([links[at] for at in order])
    assert gone == list(reversed(names(links)[min(order) :]))
    assert chain.links() == links[: min(order)]
    assert not list(chain.folder.glob(".doomed*"))


def test_a_skipped_layer_goes_with_what_it_stands_on(chain: Store) -> None:
    links = chain.links()
    samples.skip_layer(chain, 4, links[1])
    chain.remove([links[1]])
    assert chain.links() == links[:1]


def test_a_reader_keeps_every_link_where_it_is(chain: Store) -> None:
    links = chain.links()
    with chain.reading(), chain.reading():
        for remove in (chain.remove, lambda found: chain.forget(found[0].ingredients)):
            with pytest.raises(BusyError, match="reads the links that are to be removed"):
                remove(links)
        added = samples.add_layer(chain, 4, links[-1])
    assert chain.links() == [*links, added]
    chain.remove([added])
    assert chain.links() == links


def test_nobody_reads_while_links_are_removed(chain: Store) -> None:
    with chain.alone():
        with pytest.raises(BusyError, match="links are being removed"), chain.reading():
            pytest.fail("it reads")
        chain.bury(chain.links()[3:])
    with chain.reading():
        assert names(chain.links()) == ["base", "layer1", "layer2"]


def test_what_is_set_aside_is_not_reused_and_can_be_taken_back(chain: Store) -> None:
    links = chain.links()
    top: list[Link] = links[2:]
    chain.set_aside(top)
    assert [one.aside for one in chain.links()] == [False, False, True, True]
    assert chain.find("layer2", links[2].key) is None
    chain.take_back(top)
    chain.take_back(top)
    assert chain.find("layer2", links[2].key) == links[2]
    assert whole(chain)
