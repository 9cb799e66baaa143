"""Whether the published image is the one that a build would make."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from cube.build import finalize
from cube.chain.store.link import Link
from cube.config.workspace import Workspace
from cube.machines import boot
from cube.provision import pytest_run
from cube.runtime import checksum

GOLDEN = Path(__file__).parents[2] / "golden" / "manifest.json"
DATA: dict[str, Any] = json.loads(GOLDEN.read_text())
MADE_FROM = next(link for link in reversed(DATA["links"]) if link["size_bytes"])


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    """A build folder with an image, its manifest, checksum and report."""
    work = Workspace(root=tmp_path, name="cube")
    work.artifact.write_text("image")
    artifact = {**DATA["artifact"], "sha256": checksum.sha256(work.artifact)}
    work.manifest.write_text(json.dumps({**DATA, "artifact": artifact}))
    work.checksum.touch()
    work.report.touch()
    return work


@pytest.fixture
def head(tmp_path: Path) -> Link:
    """The link that the image was made from."""
    return Link(
        folder=tmp_path,
        name=MADE_FROM["name"],
        key=MADE_FROM["key"],
        parent="",
        refresh="",
        created="",
        seconds=0,
        size_bytes=1,
        sha256="",
        ingredients={},
    )


def test_an_image_that_is_there_whole_is_not_made_again(work: Workspace, head: Link) -> None:
    assert finalize.stale(DATA["key"], head, work) == ""


def test_another_head_is_told_before_anything_else(work: Workspace, head: Link) -> None:
    other = replace(head, key="f" * 64)
    told = finalize.stale("another key", other, work)
    assert told == f"the image was made from another link than {head.name} ffffffffffff"


def test_on_the_same_head_it_is_what_judges_or_seals(work: Workspace, head: Link) -> None:
    told = finalize.stale("another key", head, work)
    assert told == "the checks or what seals an image have changed"


@pytest.mark.parametrize("name", ["artifact", "manifest", "checksum", "report"])
def test_what_is_missing_is_told(work: Workspace, head: Link, name: str) -> None:
    getattr(work, name).unlink()
    assert finalize.stale(DATA["key"], head, work)


def test_an_artifact_that_was_changed_is_told(work: Workspace, head: Link) -> None:
    work.artifact.write_text("other")
    assert "is not what its manifest says" in finalize.stale(DATA["key"], head, work)


def test_nothing_is_judged_before_its_units_have_settled(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(boot, "settle", lambda _: done.append("settled"))
    monkeypatch.setattr(pytest_run, "run_checks", lambda _: done.append("judged"))
    finalize.validate(Mock(), Mock(), work)
    assert done == ["settled", "judged"]
