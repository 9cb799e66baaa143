"""AppArmor's cache: when it is stale, by the fact's own shell on planted files."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy.facts.apparmor import FEATURES, PROFILES, Cache

PARSER = """#!/bin/sh
echo {cache}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("bin", "features", "profiles", "cache"):
        (tmp_path / folder).mkdir()
    parser = tmp_path / "bin/apparmor_parser"
    parser.write_text(PARSER.format(cache=tmp_path / "cache"))
    parser.chmod(0o755)
    (tmp_path / "profiles/one").write_text("profile one {}")
    return tmp_path


def state(root: Path) -> str:
    command = Cache().command().replace(FEATURES, str(root / "features"))
    command = command.replace(PROFILES, str(root / "profiles"))
    path = {"PATH": f"{root / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", command], env=path, capture_output=True, text=True, check=True
    )
    return Cache().process(done.stdout.splitlines())


def compiled(root: Path) -> None:
    (root / "cache/.features").write_text("")


def test_a_cache_that_was_made_after_its_profiles_is_current(root: Path) -> None:
    compiled(root)

    assert state(root) == "current"


def test_a_cache_that_is_not_there_is_stale(root: Path) -> None:
    assert state(root) == "stale"


def test_a_profile_that_came_later_makes_it_stale_whatever_its_own_date(root: Path) -> None:
    compiled(root)
    os.utime(root / "cache/.features", (1, 1))
    (root / "profiles/two").write_text("profile two {}")
    os.utime(root / "profiles/two", (0, 0))

    assert state(root) == "stale"


def test_without_a_parser_it_is_stale(root: Path) -> None:
    compiled(root)
    (root / "bin/apparmor_parser").write_text("#!/bin/sh\nexit 1\n")

    assert state(root) == "stale"


def test_where_nothing_is_known_of_the_kernel_there_is_nothing_to_do(root: Path) -> None:
    (root / "features").rmdir()

    assert state(root) == "unknown"
    assert Cache().process([]) == "unknown"
