"""What a box claims of itself, read from its record."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from cube.hosts import record
from cube.hosts.record import Entry
from deploy.runner import record as deployed

AT = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def noted(*layers: int) -> str:
    """Return the file as the roles write it."""
    rows: deployed.Layers = {}
    for layer in layers:
        what = deployed.described(f"recipe{layer}", ["common"], f"key{layer}")
        rows = deployed.add(rows, layer, what=what, now=AT)
    return deployed.render_layers(rows)


def test_it_is_the_file_that_the_layers_write() -> None:
    assert record.FILE == deployed.LAYERS_FILE


def test_what_is_written_is_what_is_read() -> None:
    text = noted(1)
    found = record.parse(text)
    assert found.entries == (
        Entry(
            layer=1,
            applied="2026-01-31T12:00:00Z",
            recipe="recipe1",
            roles=("common",),
            key="key1",
        ),
    )
    assert (found.problem, found.digest) == ("", hashlib.sha256(text.encode()).hexdigest())


def test_a_record_of_an_older_release_has_neither_recipe_nor_key() -> None:
    row = {"applied": "2026-01-31T12:00:00Z", "version": "0.1.0", "roles": ["common"]}
    (entry,) = record.parse(json.dumps({"layers": {"1": row}})).entries
    assert (entry.recipe, entry.key) == ("", "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is missing"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"layers": 1}', "is damaged"),
        ('{"layers": {"one": {"applied": "", "roles": []}}}', "is damaged"),
        ('{"layers": {"1": {"applied": ""}}}', "is damaged"),
        ('{"layers": {"1": {"applied": "", "roles": "common"}}}', "is damaged"),
        ('{"layers": {}}', "names no layer"),
    ],
)
def test_a_record_that_says_nothing_says_why(text: str, problem: str) -> None:
    found = record.parse(text)
    assert problem in found.problem
    assert found.entries == ()


@pytest.mark.parametrize(("layer", "key"), [(1, ""), (2, "key1"), (5, "key1"), (6, "key5")])
def test_a_layer_stands_on_the_next_one_below(layer: int, key: str) -> None:
    assert record.parse(noted(1, 5)).key_below(layer) == key


@pytest.mark.parametrize(
    ("layers", "told"),
    [((), "no layers"), ((1,), "layer 1"), ((5, 1), "layers 1 and 5"),
     ((1, 2, 5), "layers 1, 2 and 5")],
)  # fmt: skip
def test_layers_are_told_in_order(layers: tuple[int, ...], told: str) -> None:
    assert record.parse(noted(*layers)).summary == told
