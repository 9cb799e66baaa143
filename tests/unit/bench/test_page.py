import shutil
from pathlib import Path

import pytest

from bench import __main__, page, timing
from bench.page import Target
from bench.timing import PROJECT, Runs, Timing
from cube.runtime.errors import CubeError


def test_a_command_is_timed_and_one_that_fails_is_no_figure(tmp_path: Path) -> None:
    argv = ["sh", "-c", "cat; pwd; sleep 0.2; exit $CODE"]
    done = timing.timed(argv, env={"CODE": "0"}, cwd=tmp_path, stdin="given\n")
    assert done.output.split() == ["given", str(tmp_path)]
    assert 0.1 < done.seconds < 10
    with pytest.raises(CubeError, match="failed") as caught:
        timing.timed(argv, env={"CODE": "3"}, stdin="why\n")
    assert caught.value.details.startswith("why")


def test_each_round_has_every_name_once_and_begins_with_another() -> None:
    assert timing.turns(["a", "b"], 3) == ["a", "b", "b", "a", "a", "b"]


def test_runs_are_told_by_their_median_and_compared_by_it() -> None:
    runs = Runs()
    runs["a", 1] = [Timing(seconds=one) for one in (9.0, 1.0, 2.0)]
    runs["b", 1] = [Timing(seconds=4.0)]
    assert runs.spread("a", 1) == "2.00 (1.00-9.00, 3)"
    assert runs.spread("b", 1) == "4.00 (1)"
    assert runs.ratio(["a", 1], ["b", 1]) == 0.5
    assert runs.ratio(["a", 2], ["b", 1]) is None


def test_the_page_is_what_its_data_give(tmp_path: Path) -> None:
    kept = PROJECT / "docs/bench"
    folder = shutil.copytree(kept, tmp_path / "bench")
    assert page.render(folder) == (PROJECT / "docs/bench.md").read_text()
    assert {one.name for one in folder.iterdir()} == {one.name for one in kept.iterdir()}
    assert all(one.read_text() == (kept / one.name).read_text() for one in folder.glob("*.svg"))


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [(1, False, "met"), (3, False, "**missed**"), (3, True, "met"), (None, True, "not measured")],
)
def test_a_target_is_met_missed_or_not_measured(
    value: float | None, at_least: bool, verdict: str
) -> None:
    row = Target("x", 2, value, at_least, "physics").row()
    assert (row["verdict"], bool(row["what bounds it"])) == (verdict, verdict == "**missed**")


@pytest.mark.parametrize(
    "words", ["speed --cases x", "hosts --counts x", "seal --runs x", "chain --cases x", "other"]
)
def test_what_the_program_does_not_know_is_refused(words: str) -> None:
    with pytest.raises(SystemExit):
        __main__.main(words.split())
