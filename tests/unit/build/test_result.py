"""What the last lines of a build say."""

from pathlib import Path

import pytest

from cube import config
from cube.build import finalize
from cube.build.result import Result
from cube.build.timeline import Timeline
from cube.config.workspace import Workspace
from cube.runtime import log

GOLDEN = Path(__file__).parents[2] / "golden" / "manifest.json"


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace.of(config.load_text("", tmp_path / "cube.toml"))


def test_the_last_line_says_what_was_saved(work: Workspace) -> None:
    result = Result(
        workspace=work,
        seconds=420.0,
        verdict="built",
        reused=["base", "layer1"],
        saved_seconds=316.25,
    )
    lines = result.summary().splitlines()
    assert lines[0] == "vault-cube-debian-13 is built (7 min 00 s)"
    assert f"  timeline  {work.timeline}" in lines
    assert lines[-1] == "  saved     5 min 16 s: base, layer1 reused"


def test_a_first_build_says_that_it_saved_nothing(work: Workspace) -> None:
    result = Result(workspace=work, seconds=900.0, verdict="built")
    assert result.summary().splitlines()[-1] == "  saved     nothing: there was nothing to reuse"


def test_a_program_learns_it_too(work: Workspace) -> None:
    result = Result(
        workspace=work,
        seconds=2.04,
        verdict="built",
        made=False,
        reused=["base"],
        saved_seconds=60.04,
    )
    told = result.as_json()
    assert (told["seconds"], told["saved_seconds"]) == (2.0, 60.0)
    assert (told["made"], told["reused"]) == (False, ["base"])


def test_an_image_that_is_reused_saves_its_judgement_and_its_seal(work: Workspace) -> None:
    work.root.mkdir(parents=True)
    work.manifest.write_text(GOLDEN.read_text())
    seen = Timeline()
    with log.listening(seen):
        finalize.tell_reused(work)
    assert seen.reused_names() == ["image"]
    assert seen.saved_seconds() == 420.0
