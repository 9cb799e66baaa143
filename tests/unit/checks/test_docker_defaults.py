"""Sizes as Docker writes them."""

import json

import pytest

from checks.docker_defaults import LEAST_SHM, LOG_LIMITS, size_bytes
from deploy.runner.sources import file_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("50m", 50 * 2**20), ("8G", 2**33), ("1.5 GiB", 3 * 2**29), ("64kb", 2**16)],
)
def test_sizes(text: str, expected: int) -> None:
    assert size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "8x", "G", "8G8"])
def test_what_limits_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="limits nothing"):
        size_bytes(text)


def test_what_layer_1_writes_is_enough() -> None:
    told = json.loads(file_text("docker/daemon.json"))
    assert size_bytes(told["default-shm-size"]) >= LEAST_SHM
    assert all(size_bytes(told["log-opts"][option]) > 0 for option in LOG_LIMITS)
