"""The record of layers: what is noted, and that a second time changes nothing."""

from datetime import UTC, datetime

import pytest

from deploy.record import RecordedLayers, add, render_layers

FIRST = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
LATER = datetime(2026, 2, 1, 12, 0, 0, tzinfo=UTC)
ONE = {"1": {"applied": "2026-01-31T12:00:00Z", "version": "0.1.0", "roles": ["common", "docker"]}}


def test_a_layer_is_noted() -> None:
    assert add({}, 1, version="0.1.0", roles=("common", "docker"), now=FIRST) == ONE


def test_a_second_time_changes_nothing() -> None:
    assert add(ONE, 1, version="0.1.0", roles=["common", "docker"], now=LATER) == ONE


@pytest.mark.parametrize(
    ("version", "roles"), [("0.2.0", ["common", "docker"]), ("0.1.0", ["common"])]
)
def test_another_version_or_role_is_noted_anew(version: str, roles: list[str]) -> None:
    layers = add(ONE, 1, version=version, roles=roles, now=LATER)
    assert layers["1"]["applied"] == "2026-02-01T12:00:00Z"
    assert layers["1"]["version"] == version


def test_other_layers_stay() -> None:
    layers = add(ONE, 5, version="0.1.0", roles=["monitoring"], now=LATER)
    assert layers["1"] == ONE["1"]
    assert list(layers) == ["1", "5"]


def test_what_is_written_is_what_is_read() -> None:
    lines = render_layers(ONE).splitlines()
    assert RecordedLayers().process(lines) == ONE


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"layers": 1}', '{"layers": {"1": 1}}'])
def test_a_damaged_record_counts_as_none(text: str) -> None:
    assert RecordedLayers().process(text.splitlines()) == {}
