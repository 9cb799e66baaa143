"""The record of layers: what is noted, and that a second time changes nothing."""

from datetime import UTC, datetime

import pytest

from deploy.runner.record import RecordedLayers, add, described, render_layers

FIRST = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
LATER = datetime(2026, 2, 1, 12, 0, 0, tzinfo=UTC)
ONE = {"1": {"applied": "2026-01-31T12:00:00Z", "recipe": "abc", "roles": ["common", "docker"]}}
WHAT = described("abc", ("common", "docker"), "")


def test_a_layer_is_noted() -> None:
    assert add({}, 1, what=WHAT, now=FIRST) == ONE


def test_a_second_time_changes_nothing() -> None:
    assert add(ONE, 1, what=WHAT, now=LATER) == ONE


@pytest.mark.parametrize(
    "what",
    [
        described("def", ["common", "docker"], ""),
        described("abc", ["common"], ""),
        described("abc", ["common", "docker"], "key"),
    ],
)
def test_another_recipe_role_or_key_is_noted_anew(what: dict[str, object]) -> None:
    layers = add(ONE, 1, what=what, now=LATER)
    assert layers["1"] == {"applied": "2026-02-01T12:00:00Z", **what}


def test_without_a_key_the_one_on_record_stays() -> None:
    keyed = {"1": {**ONE["1"], "key": "123"}}
    assert add(keyed, 1, what=WHAT, now=LATER) == keyed


def test_other_layers_stay() -> None:
    layers = add(ONE, 5, what=described("def", ["monitoring"], ""), now=LATER)
    assert layers["1"] == ONE["1"]
    assert list(layers) == ["1", "5"]


def test_what_is_written_is_what_is_read() -> None:
    lines = render_layers(ONE).splitlines()
    assert RecordedLayers().process(lines) == ONE


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"layers": 1}', '{"layers": {"1": 1}}'])
def test_a_damaged_record_counts_as_none(text: str) -> None:
    assert RecordedLayers().process(text.splitlines()) == {}
