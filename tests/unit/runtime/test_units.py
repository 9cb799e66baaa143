"""Sizes and durations in words."""

import pytest

from cube.runtime import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (119, "119 s"),
        (119.6, "2 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3780, "1 h 03 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (12 * 1024, "12 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (601 * 1024**2, "601 MiB"),
        (17 * 1024**3 // 10, "1.7 GiB"),
        (3000 * 1024**4, "3000 TiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert units.size(count) == text
