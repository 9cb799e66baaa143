"""One real build serves all integration tests: it is made once a session.

`CUBE_TEST_BUILD` names a build folder that is used instead (``build`` after `make image`), so
that a developer waits for it once.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube import spec, ssh
from cube.chain.store import Store
from cube.spec import Spec
from cube.workspace import Workspace

PROJECT = Path(__file__).parents[2]

#: Seconds for a cold build on two cores without KVM; sixteen minutes were measured.
BUILD_S = 2400


@dataclass(frozen=True)
class Built:
    """A build that succeeded."""

    spec: Spec
    work: Workspace
    output: str
    seconds: float

    @property
    def store(self) -> Store:
        return Store(folder=self.work.chain)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


def write_spec(folder: Path, build: Path, more: str = "") -> Path:
    """Write a cube.toml that differs from the shipped one in its build folder (and `more`)."""
    text = (PROJECT / "cube.toml").read_text()
    text = text.replace('dir = "build"', f'dir = "{build}"')
    file = folder / "cube.toml"
    file.write_text(text + more)
    return file


def copy_project(folder: Path) -> Path:
    """Copy what a build runs, to plant something in it; start `cube` from there."""
    skip = shutil.ignore_patterns("__pycache__", ".*", "build", "tests", "*.egg-info")
    return Path(shutil.copytree(PROJECT, folder, ignore=skip))


#: A check that fails on every machine.
FAILING = """\
import pytest
from testinfra.host import Host

pytestmark = pytest.mark.layer5


def test_planted(host: Host) -> None:
    assert not host.file("/etc/hostname").exists
"""


def plant_check(project: Path) -> None:
    """Add a check of layer 5 that fails."""
    (project / "checks/layer5/test_monitoring_planted.py").write_text(FAILING)


@pytest.fixture(scope="session", autouse=True)
def root() -> None:
    if os.geteuid() != 0:
        pytest.exit("integration tests need root: sudo make test (or make test-unit)", 4)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A cold build of debian-13, by the command that a user gives."""
    folder = tmp_path_factory.mktemp("built")
    given = os.environ.get("CUBE_TEST_BUILD")
    build = Path(given).resolve() if given else folder / "build"
    file = write_spec(folder, build)
    started = time.monotonic()
    output = "" if given else run_build(file, folder / "output")
    loaded = spec.load(file)
    return Built(loaded, Workspace.of(loaded), output, time.monotonic() - started)


def run_build(file: Path, output: Path) -> str:
    argv = [sys.executable, "-m", "cube", "build", "debian-13", "--plain", "--spec", str(file)]
    with output.open("w") as stream:
        code = subprocess.run(
            argv, stdout=stream, stderr=subprocess.STDOUT, timeout=BUILD_S, check=False
        ).returncode
    text = output.read_text()
    assert code == 0, f"cube build ended with {code}:\n{text[-6000:]}"
    return text


@pytest.fixture(scope="session")
def base_disk(built: Built) -> Path:
    """The bare OS."""
    return built.store.named("base").disk


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key for machines that a test boots."""
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    ssh.make_key(path)
    return path
