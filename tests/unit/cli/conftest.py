"""A host that no command reaches."""

import pytest

from cube.hosts.target import Box
from tests.unit.hosts.conftest import ENDPOINT


@pytest.fixture
def box() -> Box:
    return Box(name="desk1", endpoint=ENDPOINT)
