"""The images that the hygiene checks judge: every ``--root`` of the command line."""

from pathlib import Path

import pytest

from checks.hygiene.tree import Tree


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "image" in metafunc.fixturenames:
        roots: list[Path] = metafunc.config.getoption("root")
        metafunc.parametrize(
            "image", [Tree(root) for root in roots], ids=[root.name for root in roots]
        )
