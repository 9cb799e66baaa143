"""A link whose bytes are not those that were frozen is found, and the reason is said."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cube.chain.store import integrity
from cube.chain.store.link import DISK, RECORD, Link
from cube.chain.store.links import Store
from cube.runtime import run
from cube.runtime.checksum import sha256
from tests.unit.chain import samples


def found(store: Store) -> dict[str, str]:
    """Return every damage as name and reason."""
    links = store.links()
    return {damage.link.name: damage.reason for damage in integrity.damaged(links, links)}


def change(link: Link, **values: Any) -> None:
    """Change words of a record."""
    path = link.folder / RECORD
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_whole_chain_has_no_damage(chain: Store) -> None:
    assert len(chain.links()) == 4
    assert found(chain) == {}


def test_a_chain_may_be_moved_as_a_whole(chain: Store, tmp_path: Path) -> None:
    chain.folder.rename(tmp_path / "elsewhere")
    assert found(Store(folder=tmp_path / "elsewhere")) == {}
    assert len(Store(folder=tmp_path / "elsewhere").links()) == 4


def test_a_skipped_layer_has_no_disk_to_be_damaged(chain: Store) -> None:
    samples.skip_layer(chain, 4, chain.links()[-1])
    assert found(chain) == {}


def truncate(link: Link) -> None:
    link.disk.chmod(0o644)
    with link.disk.open("r+b") as stream:
        stream.truncate(link.size_bytes - 1)


def grow(link: Link) -> None:
    link.disk.chmod(0o644)
    samples.write(link.disk, "more")


def rebase(link: Link, onto: str = "base") -> None:
    """Let a disk stand on another one, and hide that from the checksum."""
    other = next(link.folder.parent.glob(f"{onto}-*"))
    link.disk.chmod(0o644)
    argv: run.Argv = ["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", f"../{other.name}/{DISK}"]
    run.run([*argv, link.disk])
    believe(link)


def believe(link: Link) -> None:
    """Write down a disk as it is, as somebody would who forges it."""
    size = link.disk.stat().st_size
    change(link, size_bytes=size, sha256=sha256(link.disk))


def no_image(link: Link) -> None:
    link.disk.chmod(0o644)
    link.disk.write_bytes(b"QFI\xfb" + b"\xff" * 600)
    believe(link)


def orphan(link: Link) -> None:
    shutil.rmtree(next(link.folder.parent.glob("layer1-*")))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda link: link.disk.unlink(), f"{DISK} is missing"),
        (truncate, f"{DISK} has [0-9]+ bytes, frozen were [0-9]+"),
        (grow, f"{DISK} has [0-9]+ bytes, frozen were [0-9]+"),
        (lambda link: samples.flip(link.disk, 0), f"{DISK} has the sha256 [0-9a-f]{{16}}...,"),
        (lambda link: samples.flip(link.disk, -1), f"{DISK} has the sha256 [0-9a-f]{{16}}...,"),
        (rebase, "it stands on .*/base-.*, not on .*/layer1-"),
        (no_image, "not a readable disk image"),
        (orphan, "the link below it, [0-9a-f]{12}, is missing"),
        (lambda link: change(link, ingredients={}), "its ingredients do not give its key"),
        (
            lambda link: change(link, refresh="never"),
            "its record and its ingredients differ in refresh",
        ),
        (
            lambda link: change(link, parent=link.key),
            "its record and its ingredients differ in parent",
        ),
    ],
)
def test_every_damage_is_named(chain: Store, damage: Callable[[Link], None], reason: str) -> None:
    damage(chain.named("layer2"))
    [(name, said)] = found(chain).items()
    assert name == "layer2"
    assert re.search(reason, said), said


def test_a_base_stands_on_nothing(chain: Store) -> None:
    rebase(chain.links()[0], onto="layer1")
    assert re.search("it stands on .*/layer1-.*, not on None", found(chain)["base"])


def test_only_what_is_asked_for_is_read(chain: Store) -> None:
    links = chain.links()
    samples.flip(links[0].disk, 0)
    assert integrity.damaged(links[1:], links) == []
