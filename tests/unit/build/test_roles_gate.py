"""Roles that cannot make an image, or lack what they stand on, are told before a build."""

from pathlib import Path

import pytest

from cube import config
from cube.build import roles_gate

FILE = Path("/folder/cube.toml")


def problems(text: str) -> list[str]:
    return roles_gate.examine(config.load_text(text, FILE))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[layers]\nenabled = [1]\nlayer1 = ['common', 'users']",
        "[layers]\nenabled = [1, 5]\nlayer1 = ['users', 'common']\nlayer5 = ['monitoring']",
        "[layers]\nlayer1 = ['common', 'users']\n[gpu]\nmode = 'skip'",
        "[layers]\nenabled = [1, 2]\nlayer1 = ['common', 'users']\nlayer2 = ['nvidia_driver']",
    ],
)
def test_roles_that_fit(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[layers]\nenabled = [1]\nlayer1 = ['common']",
            "layers.layer1 = ['common']: no image can be sealed without users: it makes the"
            " administrator, who logs in to each clone: add it, like ['users', 'common']",
        ),
        (
            "[layers]\nenabled = [1]\nlayer1 = ['users', 'docker']",
            "no image can be sealed without common",
        ),
        ("[layers]\nlayer1 = ['common', 'users', 'python']", "gpu_runtime needs docker"),
        ("[layers]\nlayer1 = ['common', 'users', 'docker']", "frameworks needs python"),
        ("[layers]\nlayer2 = ['cuda']", "layers.layer2 = ['cuda']: cuda needs nvidia_driver"),
        ("[layers]\nlayer2 = ['cuda', 'nvidia_driver']", "nvidia_driver comes after cuda"),
    ],
)
def test_roles_that_do_not_fit(text: str, expected: str) -> None:
    (told,) = problems(text)
    assert told.startswith(f"{FILE}: layers.layer")
    assert expected in told
    assert "like [" in told


def test_every_role_that_is_named_exists() -> None:
    for one in roles_gate.GROUNDS:
        assert one.role in config.LAYER_ROLES[one.layer]
        assert one.on in config.LAYER_ROLES[one.on_layer]
    assert set(roles_gate.NEEDED) <= set(config.LAYER_ROLES[1])
