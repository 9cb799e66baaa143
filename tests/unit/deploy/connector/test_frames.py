"""pyinfra's call stacks are the same without the text of their lines."""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import util

from deploy.connector import frames


def order() -> Any:
    state = SimpleNamespace(current_deploy_filename=None, current_op_file_number=0)
    return util.get_operation_order_from_stack(state)  # type: ignore[arg-type]


def test_operations_are_numbered_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "stack", inspect.stack)
    monkeypatch.setattr(util, "getframeinfo", inspect.getframeinfo)
    found = []
    for _ in range(2):
        found.append(order())
        frames.spare_sources()
    assert util.stack is not inspect.stack
    assert found[0] == found[1]


def test_another_pyinfra_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    other: Any = object()
    monkeypatch.setattr(util, "stack", other)
    frames.spare_sources()
    assert util.stack is other
