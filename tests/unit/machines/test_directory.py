"""The hosts that have a name."""

from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.config.model import Host
from cube.machines import directory, record
from cube.machines.record import MachineRecord


@pytest.fixture
def loaded(tmp_path: Path) -> Spec:
    file = tmp_path / "cube.toml"
    file.write_text('[build]\ndir = "build"\n[hosts.desk1]\naddress = "192.0.2.1"\n')
    return config.load(file)


def machine(name: str, folder: Path) -> MachineRecord:
    made = object.__new__(MachineRecord)
    object.__setattr__(made, "name", name)
    object.__setattr__(made, "folder", folder)
    return made


def test_cube_toml_goes_first_then_the_image_that_it_names(
    loaded: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = {"debian-13": ["up", "desk1"], "ubuntu-24.04": ["up", "other"]}

    def left_up(folder: Path) -> list[MachineRecord]:
        (image,) = set(folder.parts) & up.keys()
        return [machine(name, folder) for name in up[image]]

    monkeypatch.setattr(record, "left_up", left_up)
    found = directory.known(loaded)
    assert list(found) == ["desk1", "up", "other"]
    assert isinstance(found["desk1"], Host)
    assert loaded.image.os in getattr(found["up"], "folder").parts  # noqa: B009 (planted)
    assert directory.listed(loaded) == "desk1, up, other"
