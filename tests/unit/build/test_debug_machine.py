"""What a command that was killed left of its machine."""

import os
from pathlib import Path

import pytest

from cube.build import debug_machine
from cube.config.workspace import Workspace


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(root=tmp_path, name="image")


def test_a_trial_whose_owner_is_gone_is_removed_and_no_other(work: Workspace) -> None:
    gone = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(gone, 0)
    for name in (f"trial-{gone}", f"trial-{os.getpid()}", "trial-x", "up"):
        (work.machines / name).mkdir(parents=True)
        (work.machines / name / "disk.qcow2").write_text("a disk")
    debug_machine.clear(work)
    left = sorted(path.name for path in work.machines.iterdir())
    assert left == sorted([f"trial-{os.getpid()}", "trial-x", "up"])


def test_nothing_is_made_where_there_is_nothing_to_clear(work: Workspace) -> None:
    debug_machine.clear(work)
    assert list(work.root.iterdir()) == []
