"""What roles make of the data of a host."""

from dataclasses import dataclass

import pytest
from pyinfra.api.exceptions import DeployError

from deploy.runner.data import build


@dataclass(frozen=True, kw_only=True)
class Sample:
    name: str
    count: int = 1
    keys: tuple[str, ...] = ()


def test_lists_become_tuples_and_unknown_keys_are_left() -> None:
    data = build(Sample, {"name": "x", "keys": ["a", "b"], "other": 1})
    assert data == Sample(name="x", keys=("a", "b"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "--data name=VALUE"),
        ({"name": "x", "count": "two"}, "host.data.count = 'two': expected int"),
        ({"name": "x", "count": True}, "host.data.count = True: expected int"),
        ({"name": "x", "keys": "a"}, "host.data.keys = 'a'"),
        ({"name": None}, "host.data.name = None: expected str"),
    ],
)
def test_wrong_data_is_named(data: dict[str, object], words: str) -> None:
    with pytest.raises(DeployError, match=r"host\.data") as caught:
        build(Sample, data)
    assert words in str(caught.value)


def test_a_number_on_the_command_line_can_be_text() -> None:
    assert build(Sample, {"name": 1}).name == "1"
