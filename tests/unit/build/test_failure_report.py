"""A build that failed: what is told, and where."""

import errno
from pathlib import Path

import pytest

from cube import config
from cube.build import failure_report
from cube.build.timeline import Timeline
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.runtime import log
from cube.runtime.errors import CheckError, HostError

REUSED = {
    "name": "base", "key": "ab" * 32, "refresh": "2026-01-31", "created": "2026-01-31T12:00:00Z",
    "seconds": 155.5, "size_bytes": 561_381_376, "reused": True,
}  # fmt: skip


@pytest.fixture
def image(tmp_path: Path) -> Spec:
    return config.load_text("", tmp_path / "cube.toml")


@pytest.fixture
def work(image: Spec) -> Workspace:
    work = Workspace.of(image)
    work.work.mkdir(parents=True)
    return work


def fail(image: Spec, work: Workspace) -> None:
    timeline = Timeline()
    with log.listening(timeline), failure_report.explained(image, work, timeline):
        with log.step("Stage 1: validation", stage=1):
            log.reused("base is reused", REUSED)
        with log.step("Stage 3: provisioning", stage=3):
            log.operation("common: Install packages", seconds=61.5, changed=True, layer=1, execs=2)
            raise CheckError("1 check failed: <sshd>", hint="cube up", details="line 1")


def test_a_failure_has_a_report_that_names_stage_cause_and_remedy(
    image: Spec, work: Workspace
) -> None:
    with pytest.raises(CheckError):
        fail(image, work)
    page = work.failure.read_text()
    for text in (
        "Failed in: Stage 3: provisioning",
        "1 check failed: &lt;sshd&gt;",
        "cube up",
        "line 1",
    ):
        assert text in page


def test_its_report_says_where_the_time_went_and_what_was_saved(
    image: Spec, work: Workspace
) -> None:
    with pytest.raises(CheckError):
        fail(image, work)
    page = work.failure.read_text()
    for text in ("common: Install packages", "62 s", "the cache saved 2 min 36 s", "535 MiB"):
        assert text in page


def test_a_full_disk_is_the_cause(image: Spec, work: Workspace) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x.qcow2")
    with (
        pytest.raises(HostError, match="is full") as caught,
        failure_report.explained(image, work, Timeline()),
    ):
        raise full
    assert "build.dir" in caught.value.hint
    assert "cube chain prune" in caught.value.hint


def test_what_fails_on_a_full_disk_fails_for_it(
    image: Spec, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_report, "FULL_BYTES", 2**63)
    with (
        pytest.raises(HostError, match="is full") as caught,
        failure_report.explained(image, work, Timeline()),
    ):
        raise CheckError("apt failed", details="E: Write error")
    assert "E: Write error" in caught.value.details


def test_a_fault_of_ours_is_not_dressed_up(image: Spec, work: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), failure_report.explained(image, work, Timeline()):
        raise ZeroDivisionError
