"""Which supply of packages a build may take over."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cube.chain import refresh

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
NEW = "2026-11-24T12:00:00Z"


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("1 hour", timedelta(hours=1)),
        ("6 hours", timedelta(hours=6)),
        ("1 day", timedelta(days=1)),
        ("30 days", timedelta(days=30)),
        ("1 week", timedelta(days=7)),
        ("2 weeks", timedelta(days=14)),
        ("never", None),
        ("2026-11-23", None),
    ],
)
def test_an_age_is_told_from_a_pin(text: str, age: timedelta | None) -> None:
    assert refresh.max_age(text) == age


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param([], [NEW], id="nothing is there"),
        pytest.param(["2026-11-24T11:59:59Z"], ["2026-11-24T11:59:59Z", NEW], id="a young one"),
        pytest.param(["2026-11-23T12:00:01Z"], ["2026-11-23T12:00:01Z", NEW], id="just young"),
        pytest.param(["2026-11-23T12:00:00Z"], [NEW], id="as old as its greatest age"),
        pytest.param(["2024-01-01T00:00:00Z"], [NEW], id="an old one"),
        pytest.param(["2026-11-24T12:00:01Z"], [NEW], id="from the future: a clock was wrong"),
        pytest.param(["never", "2026-11-23", "", "rubbish"], [NEW], id="pins have no age"),
        pytest.param(
            ["2026-11-24T01:00:00Z", "2026-11-24T03:00:00Z", "2026-11-24T02:00:00Z"],
            ["2026-11-24T03:00:00Z", "2026-11-24T02:00:00Z", "2026-11-24T01:00:00Z", NEW],
            id="the newest is the best",
        ),
        pytest.param(
            ["2026-11-24T01:00:00Z", "2026-11-24T01:00:00Z"],
            ["2026-11-24T01:00:00Z", NEW],
            id="two bases of one supply",
        ),
    ],
)
def test_what_is_young_enough_is_taken_over(known: list[str], expected: list[str]) -> None:
    assert refresh.stamps("1 day", known, now=NOW) == expected


@pytest.mark.parametrize("pin", ["never", "2026-11-23"])
def test_a_pin_is_the_only_supply(pin: str) -> None:
    assert refresh.stamps(pin, ["2026-11-24T11:00:00Z", pin, "2020-01-01"], now=NOW) == [pin]


def test_a_new_stamp_is_the_present_moment() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    [stamp] = refresh.stamps("1 day", [])
    made = refresh.parse(stamp)
    assert made is not None
    assert before <= made <= datetime.now(UTC)


def test_a_stamp_is_taken_over_at_once() -> None:
    [stamp] = refresh.stamps("1 hour", [], now=NOW)
    assert refresh.stamps("1 hour", [stamp], now=NOW)[0] == stamp


@given(st.integers(min_value=1), st.sampled_from(sorted(refresh.HOURS)))
def test_every_age_that_cube_toml_accepts_is_understood(number: int, unit: str) -> None:
    old, text = "2026-10-01T00:00:00Z", f"{number} {unit}s"
    age = timedelta(hours=min(number * refresh.HOURS[unit], 10**6))
    taken = refresh.stamps(text, [old], now=NOW)
    assert (old in taken) == (age > NOW - datetime(2026, 10, 1, tzinfo=UTC))
    assert taken[-1] == NEW
