"""A chain of real qcow2 files, made once and copied for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from cube.chain.store.links import Store
from cube.runtime import log
from tests.unit.chain import project, samples

# The same examples everywhere; a slow machine fails nothing, and nothing is kept between runs.
settings.register_profile("cube", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("cube")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a base and layers 1 to 3; copy it, do not write to it."""
    store = Store(folder=tmp_path_factory.mktemp("template") / "chain")
    store.prepare()
    samples.add_chain(store, top=3)
    return store.folder


@pytest.fixture
def chain(template: Path, tmp_path: Path) -> Store:
    """A store with a base and layers 1 to 3."""
    return Store(folder=shutil.copytree(template, tmp_path / "chain"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without a link."""
    empty = Store(folder=tmp_path / "chain")
    empty.prepare()
    return empty


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is warned of while the test runs."""
    told: list[str] = []

    def listen(event: log.Event) -> None:
        if event.kind == "warning":
            told.append(event.text)

    with log.listening(listen):
        yield told


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of this project; a test puts back what it changes."""
    return project.check_out(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def first(checkout: Path) -> project.Digests:
    """The keys of its links."""
    return project.digests(checkout, project.spec())
