"""A whole build in the layout that the shared build does not have."""

import json
from pathlib import Path

import pytest

from cube import config
from cube.config.workspace import Workspace
from cube.disks import fuse_export, partition
from cube.runtime import namespaces
from cube.runtime.namespaces import releasing
from tests.integration.conftest import run_build, write_spec


@pytest.mark.exhaustive
def test_an_image_on_lvm_is_built_and_proven(tmp_path: Path) -> None:
    """Base, layers, seal, two clones that grow, and the second boot of one of them."""
    file = write_spec(tmp_path, tmp_path / "build")
    text = file.read_text()
    assert '\n# layout = "lvm" ' in text
    file.write_text(text.replace('\n# layout = "lvm" ', '\nlayout = "lvm" '))
    loaded = config.load(file)
    assert loaded.image.disk_layout == "lvm"

    run_build(file, tmp_path / "output")

    work = Workspace.of(loaded)
    clones = json.loads(work.manifest.read_text())["proof"]["clones"]
    assert [clone["system_state"] for clone in clones] == ["running", "running"]
    assert all(clone["grown_bytes"] > 0 for clone in clones)
    assert any(clone["second_boot_seconds"] for clone in clones)
    names = {region.what for region in regions_of(work.artifact, tmp_path / "look")}
    assert "volume cube/root" in names


def regions_of(image: Path, folder: Path) -> list[partition.Region]:
    """Return what is on a disk."""
    folder.mkdir()
    opened = namespaces.open_cell(folder / "cell.log")
    with releasing(opened.close):
        shown = fuse_export.export(opened, image, folder, writable=False)
        with releasing(shown.close):
            return partition.regions(opened, shown.raw)
