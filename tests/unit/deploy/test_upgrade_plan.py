"""The kept plan of an upgrade is given again only while nothing that it depends on has changed."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.facts.apt import PLAN

#: What plays apt: it counts how often it is asked, and may fail.
APT = """#!/bin/sh
echo asked >>{root}/asked
echo "Inst bash [$(wc -l <{root}/asked)]"
exit $(cat {root}/code)
"""


@dataclass(frozen=True)
class Box:
    """The files that the plan depends on, below a folder."""

    root: Path

    def plan(self) -> "subprocess.CompletedProcess[str]":
        script = PLAN
        for folder in ("/var/lib", "/etc/apt", "/run/cube"):
            script = script.replace(folder, f"{self.root}{folder}")
        path = f"{self.root}:{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/sh", "-c", script],
            env={"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def box(tmp_path: Path) -> Box:
    for name in ("var/lib/dpkg/status", "var/lib/apt/lists/a_Packages", "etc/apt/apt.conf.d/50x"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text("one\n")
    (tmp_path / "code").write_text("0")
    apt = tmp_path / "apt-get"
    apt.write_text(APT.format(root=tmp_path))
    apt.chmod(0o755)
    return Box(tmp_path)


def test_apt_plans_once_for_the_same_files(box: Box) -> None:
    assert [box.plan().stdout for _ in range(3)] == ["Inst bash [1]\n"] * 3


@pytest.mark.parametrize(
    "name",
    ["var/lib/dpkg/status", "var/lib/apt/lists/a_Packages", "etc/apt/apt.conf.d/50x",
     "var/lib/apt/lists/b_Packages", "etc/apt/preferences"],
)  # fmt: skip
def test_a_file_that_changes_or_comes_has_apt_plan_again(box: Box, name: str) -> None:
    box.plan()
    (box.root / name).write_text("two\n")  # of the same size
    assert box.plan().stdout == "Inst bash [2]\n"
    assert len(list((box.root / "run/cube/upgrade").iterdir())) == 1


def test_a_file_that_goes_has_apt_plan_again(box: Box) -> None:
    box.plan()
    (box.root / "var/lib/apt/lists/a_Packages").unlink()
    assert box.plan().stdout == "Inst bash [2]\n"


def test_a_failure_is_passed_on_and_not_kept(box: Box) -> None:
    (box.root / "code").write_text("100")
    assert box.plan().returncode == 100
    (box.root / "code").write_text("0")
    assert box.plan().stdout == "Inst bash [2]\n"


def test_a_plan_that_cannot_be_kept_is_given_all_the_same(box: Box) -> None:
    (box.root / "run").write_text("no folder")
    done = [box.plan() for _ in range(2)]
    assert [one.stdout for one in done] == ["Inst bash [1]\n", "Inst bash [2]\n"]
    assert [one.returncode for one in done] == [0, 0]
