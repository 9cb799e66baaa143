"""Links that a test makes: disks of 64 MiB, ingredients of a few words."""

import itertools
from pathlib import Path
from typing import Any

from cube.chain.key import keys
from cube.chain.key.keys import Ingredients
from cube.chain.store.link import LayerRecord, Link
from cube.chain.store.links import Store
from cube.config import BASE, link_name
from cube.runtime import run
from cube.runtime.check_report import Check

STAMP = "2026-11-23T08:00:00Z"
CHECK = Check(
    id="checks/layer1/test_common.py::test_locale", title="locale", group="layer1",
    outcome="passed", evidence="vm", seconds=0.25,
)  # fmt: skip


def ingredients(name: str, parent: str = "", **data: Any) -> Ingredients:
    return {
        "format": keys.FORMAT,
        "name": name,
        "parent": parent,
        "refresh": STAMP,
        "tools": {"pyinfra": "3.10"},
        "data": data,
        "sources": {f"deploy/{name}.py": "0" * 64},
    }


def layer(number: int, parent: Link, **data: Any) -> Ingredients:
    return ingredients(link_name(number), parent.key, **data)


def record(number: int) -> LayerRecord:
    return LayerRecord(layer=number, operations=3, changed=3, seconds=12.5, checks=(CHECK,))


def create_disk(path: Path) -> None:
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"])


def write(path: Path, text: str) -> None:
    """Do what a guest does that writes to its disk: other bytes in the file."""
    with path.open("ab") as stream:
        stream.write(text.encode())


def add_base(store: Store, **data: Any) -> Link:
    create_disk(store.begin())
    write(store.unfinished, BASE)
    return store.freeze(ingredients(BASE, **data), seconds=30)


def add_layer(store: Store, number: int, parent: Link, **data: Any) -> Link:
    write(store.extend(parent), link_name(number))
    return store.freeze(layer(number, parent, **data), seconds=12.5, layer=record(number))


def skip_layer(store: Store, number: int, parent: Link) -> Link:
    return store.skip(layer(number, parent), LayerRecord(layer=number, skipped="no GPU"))


def add_chain(store: Store, top: int) -> list[Link]:
    """Add a base and layers up to one, each on the one before; the last is the head."""
    links = [add_base(store)]
    for number in range(1, top + 1):
        links.append(add_layer(store, number, links[-1]))
    store.set_head(links[-1])
    return links


def flip(path: Path, offset: int) -> None:
    """Turn one bit of a file over, as a bad medium does."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def names(links: list[Link]) -> list[str]:
    return [link.name for link in links]


def pairs(links: list[Link]) -> list[tuple[Link, Link]]:
    return list(itertools.pairwise(links))
