"""Hosts for the commands of benchmarks: `here` and `there`, which nobody starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.tools import Site
from cube import config
from cube.machines import Endpoint

WAY = Endpoint(host="127.0.0.1", port=7, user="u", key_file=Path("/k"), known_hosts=Path("/h"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    file = tmp_path / "cube.toml"
    file.write_text(
        f'[admin]\nuser = "ada"\nssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{"A" * 43}"]\n'
    )
    ways = {"here": WAY, "there": replace(WAY, port=8)}
    return Site(folder=tmp_path, venv=tmp_path / "venv", spec=config.load(file), ways=ways)
