"""The public index is what pip itself asks, read from its help."""

import re

import pytest

from cube.runtime import run
from cube.runtime.errors import StackError
from cube.runtime.run import Completed
from cube.stack.wheels import resolve


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve.public_index.cache_clear()


def test_settings_of_this_machine_do_not_change_the_public_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://mine.example/mirror")
    monkeypatch.setenv("COLUMNS", "40")
    assert re.fullmatch(r"https://[a-z.]+/simple", resolve.public_index())


def test_a_help_without_an_index_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Completed(returncode=0, stdout="Usage: pip install", stderr="")
    monkeypatch.setattr(run, "run", lambda *_, **__: done)
    with pytest.raises(StackError, match="names no package index"):
        resolve.public_index()
