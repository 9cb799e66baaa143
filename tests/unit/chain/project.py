"""Checkouts of this very project, and the keys of its links."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cube.chain.key import keys
from cube.config import LAYER_ROLES, Spec, load_text

PROJECT = keys.PROJECT
ROOMS = ("checks", "cube", "deploy", "guest", "packer")
LAYERS: frozenset[int | str] = frozenset(LAYER_ROLES)
BASE, IMAGE = "base", "image"

Names = set[int | str] | frozenset[int | str]
Digests = dict[int | str, str]

#: Without what is there of this machine.
TOML = f"""
[network]
ca_certificates = "none"
[os."ubuntu-24.04"]
iso_url = "http://example.org/ubuntu.iso"
iso_sha256 = "{"0" * 64}"
"""


@cache
def plain_spec(os_name: str) -> Spec:
    """Return the specification of an image with all that is not said left to its default."""
    return load_text(TOML, PROJECT / "cube.toml", os=os_name)


def spec(os_name: str = "debian-13", /, **changes: Any) -> Spec:
    """Return a specification with values changed, ``spec(**{"image.timezone": "Asia/Tokyo"})``."""
    made = plain_spec(os_name)
    for path, value in changes.items():
        made = with_value(made, path.split("."), value)
    return made


def with_value(table: Any, path: Sequence[str], value: object) -> Any:
    """Return a table of cube.toml with one value changed."""
    name, *below = path
    assert name in type(table).model_fields, path
    new = with_value(getattr(table, name), below, value) if below else value
    return table.model_copy(update={name: new})


def digests(checkout: Path, made: Spec) -> Digests:
    """Return the key of every link, each as if what is below it were always the same."""
    found = {
        BASE: keys.base_ingredients(made, refresh="now", project=checkout),
        IMAGE: keys.image_ingredients(made, head="0" * 64, project=checkout),
        **{layer: layer_ingredients(checkout, int(layer), made) for layer in LAYERS},
    }
    return {name: keys.digest(ingredients) for name, ingredients in found.items()}


def layer_ingredients(checkout: Path, layer: int, made: Spec) -> keys.Ingredients:
    """Return what makes a layer of a checkout on a link that is always the same."""
    return keys.layer_ingredients(made, layer, parent="0" * 64, refresh="now", project=checkout)


def changed(before: Digests, after: Digests) -> Names:
    return {name for name in before if before[name] != after[name]}


def check_out(folder: Path) -> Path:
    """Copy what makes images, without what Python caches."""
    ignore = shutil.ignore_patterns("__pycache__")
    for room in ROOMS:
        shutil.copytree(PROJECT / room, folder / room, ignore=ignore)
    return folder


@contextlib.contextmanager
def edited(path: Path) -> Iterator[None]:
    """Change a file while the block runs, or make it."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((before or b"") + b"\n# changed\n")
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
