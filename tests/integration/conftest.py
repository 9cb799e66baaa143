"""One real build serves all integration tests: it is made once a session.

`CUBE_TEST_BUILD` names a build folder that is used instead (``build`` after `make image`), so
that a developer waits for it once.

`make test` runs two files at a time (pytest-xdist, ``--dist loadfile``): one process makes the
build, the other one runs what needs none, the bare OS or layer 1 only, and then waits for it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from bench.project import copy_sources
from cube import config
from cube.chain.store.links import Store
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines import ssh
from tests.conftest import SAME_FOLDER
from tests.integration.workloads import Environments

PROJECT = Path(__file__).parents[2]

#: Seconds for a cold build on two cores without KVM; sixteen minutes were measured.
BUILD_S = 2400
#: The file in which a build that failed left its last words for the other processes.
FAILED = "failed"

#: In which order files begin: the build beside what needs none, then what needs the bare OS or
#: layer 1 only, then the longest; others follow by name. The first four work in the build's own
#: folder.
ORDER = (
    *SAME_FOLDER, "test_package_cache", "test_packer", "test_workloads", "test_faults_cold",
    "test_machines", "test_layers", "test_lockout", "test_gpu_runtime", "test_frameworks",
    "test_wheel_cache", "test_gpu_archive", "test_ahead", "test_audits", "test_disks", "test_hosts",
    "test_kills", "test_mirrors", "test_repack", "test_planted_secrets", "test_secure_boot",
    "test_company", "test_faults", "test_chain", "test_vm", "test_box",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """A build that succeeded."""

    spec: Spec
    work: Workspace

    @property
    def store(self) -> Store:
        return Store(folder=self.work.chain)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.integration)
    ours.sort(key=lambda item: place_of(item.path.stem))
    items[:] = [*(item for item in items if item not in ours), *ours]


def place_of(file: str) -> int:
    """Return a file's place in the order."""
    return ORDER.index(file) if file in ORDER else len(ORDER)


def write_spec(folder: Path, build: Path, more: str = "") -> Path:
    """Write a cube.toml that differs from the shipped one in its build folder (and `more`)."""
    text = (PROJECT / "cube.toml").read_text()
    text = text.replace('dir = "build"', f'dir = "{build}"')
    file = folder / "cube.toml"
    file.write_text(text + more)
    return file


def copy_project(folder: Path) -> Path:
    """Copy what a build runs, to plant something in it; start `cube` from there."""
    return copy_sources(PROJECT, folder)


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


@dataclass(frozen=True)
class Making:
    """The build of a session, which its processes share.

    Args:
        folder: the same for all of them.
        given: a build folder that is used instead, or None.
    """

    folder: Path
    given: Path | None

    @property
    def build(self) -> Path:
        return self.given or self.folder / "build"

    def load(self) -> Spec:
        """Read the specification; the first who comes writes it."""
        file = self.folder / "cube.toml"
        if not file.exists():
            own = self.folder / f"{os.getpid()}"
            own.mkdir(exist_ok=True)
            write_spec(own, self.build).replace(file)
        return config.load(file)

    def store(self) -> Store:
        return Store(folder=Workspace.of(self.load()).chain)

    def finish(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Make the build, or wait until another process has made it (or `until` is true)."""
        if self.given:
            return
        with (self.folder / "lock").open("a") as lock:
            while not taken(lock):
                if until():
                    return
                time.sleep(0.5)
            self.make()

    def link(self, name: str) -> Path:
        """Return the disk of a link, while the build goes on to others."""
        store = self.store()
        self.finish(until=lambda: any(link.name == name for link in store.links()))
        return store.named(name).disk.absolute()

    def make(self) -> None:
        """Make the build; whoever calls it holds the lock."""
        done, failed = self.folder / "done", self.folder / FAILED
        if failed.exists():
            pytest.fail(f"the build failed in another process:\n{failed.read_text()}")
        if done.exists():
            return
        try:
            run_build(self.load().file, self.folder / "output")
        except BaseException as error:
            failed.write_text(str(error))
            raise
        done.touch()


def taken(lock: TextIO) -> bool:
    """Take a lock unless another process has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="session")
def making(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Making:
    """The session's build, made or not."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "built"
    folder.mkdir(exist_ok=True)
    given = os.environ.get("CUBE_TEST_BUILD")
    return Making(folder, Path(given).resolve() if given else None)


@pytest.fixture(scope="session")
def built(making: Making) -> Built:
    """A cold build of debian-13, by the command that a user gives."""
    making.finish()
    loaded = making.load()
    return Built(loaded, Workspace.of(loaded))


def run_build(file: Path, output: Path) -> None:
    argv = [sys.executable, "-m", "cube", "build", "debian-13", "--plain", "--spec", str(file)]
    with output.open("w") as stream:
        code = subprocess.run(
            argv, stdout=stream, stderr=subprocess.STDOUT, timeout=BUILD_S, check=False
        ).returncode
    assert code == 0, f"cube build ended with {code}:\n{output.read_text()[-6000:]}"


@pytest.fixture(scope="session")
def base_disk(making: Making) -> Path:
    """The bare OS, as soon as the build has frozen it."""
    return making.link("base")


@pytest.fixture(scope="session")
def layer1_disk(making: Making) -> Path:
    """Layer 1 on the bare OS, as soon as the build has frozen it."""
    return making.link("layer1")


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environments]:
    """Five gigabytes, removed at the end; CUBE_TEST_ENVIRONMENTS names a folder that is kept."""
    given = os.environ.get("CUBE_TEST_ENVIRONMENTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("environments")
    yield Environments(folder)
    if not given:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key for machines that a test boots."""
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    ssh.make_key(path)
    return path
