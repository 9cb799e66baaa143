"""What goes wrong, and what a user sees: one clear error, an exit code, nothing left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cube.chain.store.links import Store
from cube.runtime.errors import INTERRUPTED, BusyError, CheckError, HostError
from tests.integration.conftest import PROJECT, Built, copy_project, plant_check, write_spec
from tests.processes import running

#: Seconds for a build to reach the step at which a test breaks it.
REACH_S = 600
#: Seconds within which a broken build must have ended and released everything.
END_S = 240
#: Seconds until the rest of its output was read; a child that a kill left may keep it open.
READ_S = 10


@dataclass
class Run:
    """`cube build` as a program, its output read while it runs."""

    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line)

    def wait_for(self, pattern: str, timeout_s: float = REACH_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, self.text):
            assert self.process.poll() is None, f"ended before {pattern!r}:\n{self.text[-4000:]}"
            assert time.monotonic() < deadline, f"no {pattern!r}:\n{self.text[-4000:]}"
            time.sleep(0.1)

    def end(self, timeout_s: float = END_S) -> int:
        code = self.process.wait(timeout_s)
        self.reader.join(READ_S)
        return code

    @property
    def text(self) -> str:
        return "".join(self.lines)


@dataclass(frozen=True)
class Place:
    """A build folder of its own that has the links of the finished build."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "build" / "debian-13"

    @property
    def store(self) -> Store:
        return Store(folder=self.root / "chain")

    def cut(self, name: str) -> None:
        """Remove all links above one."""
        link = self.store.named(name)
        self.store.remove([one for one in self.store.descendants(link) if one.parent == link.key])

    def start(
        self,
        *words: str,
        spec: str = "",
        more: str = "",
        prefix: tuple[str, ...] = (),
        project: Path = PROJECT,
        image: str = "debian-13",
    ) -> Run:
        file = write_spec(self.folder, self.folder / "build", more)
        if spec:
            file.write_text(spec)
        argv = [sys.executable, "-m", "cube", "build", image, "--plain"]
        process = subprocess.Popen(
            [*prefix, *argv, "--spec", str(file), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=project,
        )
        return Run(process)

    def cube(self, *words: str, inside: Sequence[str] = ()) -> str:
        """Run another command of ours, which must succeed; return what it prints."""
        argv = [sys.executable, "-m", "cube", *words, "--plain"]
        done = subprocess.run(
            [*argv, "--spec", str(self.folder / "cube.toml"), *(["--", *inside] if inside else [])],
            capture_output=True,
            text=True,
            check=False,
            timeout=REACH_S,
            cwd=PROJECT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_for_program(self, name: str) -> None:
        """Wait until a program works in this folder; without a name `cube` itself is enough."""
        deadline = time.monotonic() + REACH_S
        while not any(name in command for command in commands_naming(str(self.folder))):
            assert time.monotonic() < deadline, f"no {name} runs for {self.folder}"
            time.sleep(0.1)

    def assert_nothing_left(self) -> None:
        """No process, mount, loop device or artifact with its final name."""
        deadline = time.monotonic() + 10
        while (left := holders(str(self.folder))) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not left
        assert not list(self.root.glob("*.qcow2*"))
        assert not (self.root / "manifest.json").exists()


def holders(text: str) -> list[str]:
    """Return processes, mounts and loop devices that name a folder; the kernel takes its time."""
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    lines = [*Path("/proc/mounts").read_text().splitlines(), *loops.splitlines()]
    return [*commands_naming(text), *(line for line in lines if text in line)]


def commands_naming(text: str) -> list[str]:
    return [command for _, words in running() if text in (command := " ".join(words))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty build folder."""
    return Place(tmp_path)


@pytest.fixture
def chained(place: Place, built: Built) -> Place:
    """A build folder with links to go on from."""
    place.root.mkdir(parents=True)
    own = shutil.ignore_patterns(".reading")  # a hard link would share the lock
    shutil.copytree(built.store.folder, place.store.folder, copy_function=os.link, ignore=own)
    return place


@pytest.fixture
def run_of(request: pytest.FixtureRequest) -> Iterator[Callable[[Run], Run]]:
    """End a run whatever the test does."""
    del request
    runs: list[Run] = []

    def keep(run: Run) -> Run:
        runs.append(run)
        return run

    yield keep
    for run in runs:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGINT)
            run.process.wait(END_S)


Keep = Callable[[Run], Run]


@pytest.mark.parametrize(
    ("start", "step", "program"),
    [
        ("base", "Applying layer 1", ""),
        ("base", r"(changed|ok) +common", ""),
        ("layer5", "Stage 4", "qemu-storage-daemon"),
        ("layer5", "Cleaning the disk", ""),
        pytest.param("layer5", "Compressing the image", "qemu-img", marks=pytest.mark.exhaustive),
        pytest.param("layer5", "Booting two clones", "qemu-system", marks=pytest.mark.exhaustive),
    ],
)
def test_ctrl_c_in_a_later_stage(
    chained: Place, run_of: Keep, start: str, step: str, program: str
) -> None:
    chained.cut(start)
    run = run_of(chained.start())
    run.wait_for(step)
    chained.wait_for_program(program)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == INTERRUPTED, run.text[-3000:]
    assert "Traceback" not in run.text
    chained.assert_nothing_left()
    assert chained.store.named("").name == start


def test_kill_9_leaves_nothing_running_and_the_next_build_clears(
    chained: Place, run_of: Keep
) -> None:
    chained.cut("base")
    run = run_of(chained.start())
    run.wait_for(r"(changed|ok) +common")
    run.process.kill()
    run.end()
    chained.assert_nothing_left()
    again = run_of(chained.start())
    again.wait_for("Applying layer 1")
    assert "removed leftovers of an earlier run" in again.text
    again.process.send_signal(signal.SIGINT)
    assert again.end() == INTERRUPTED
    chained.assert_nothing_left()


@pytest.mark.exhaustive  # the same in layer 5: test_chain.py, in every run
def test_a_machine_killed_during_a_layer(chained: Place, run_of: Keep) -> None:
    chained.cut("base")
    run = run_of(chained.start())
    run.wait_for(r"(changed|ok) +common")
    started = time.monotonic()
    kill_machine(chained)
    code = run.end()
    assert code in {7, 8}, run.text[-3000:]
    assert time.monotonic() - started < END_S
    assert "error:" in run.text
    assert "cube up --at failed" in run.text
    chained.assert_nothing_left()
    assert chained.store.unfinished.exists()
    assert [link.name for link in chained.store.links()] == ["base"]


def kill_machine(place: Place) -> None:
    """SIGKILL the process that the machine lives and dies with."""
    names = ("systemd-nspawn", "qemu-system")
    for pid, words in running():
        if Path(words[0]).name.startswith(names) and str(place.folder) in " ".join(words):
            os.kill(pid, signal.SIGKILL)
            return
    pytest.fail(f"no machine runs for {place.folder}")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A copy of the project with a check that fails."""
    project = copy_project(tmp_path / "project")
    plant_check(project)
    return project


@pytest.mark.exhaustive  # the same by a layer that is made: test_chain.py, in every run
def test_a_check_that_fails_stops_the_build(chained: Place, planted: Path, run_of: Keep) -> None:
    run = run_of(chained.start(project=planted))
    assert run.end(REACH_S) == CheckError.exit_code, run.text[-3000:]
    assert "test_planted" in run.text
    assert "cube up --at failed" in run.text
    chained.assert_nothing_left()


def test_keep_leaves_the_failed_machine_up(chained: Place, planted: Path, run_of: Keep) -> None:
    run = run_of(chained.start("--keep", project=planted))
    assert run.end(REACH_S) == CheckError.exit_code, run.text[-3000:]
    assert "the machine is still up: cube ssh, then cube down" in run.text
    again = run_of(chained.start(project=planted))
    assert again.end() == BusyError.exit_code, again.text[-3000:]
    assert "Timezone=Etc/UTC" in chained.cube("ssh", inside=["timedatectl show -p Timezone"])
    chained.cube("down")
    chained.assert_nothing_left()


def test_a_disk_that_fills_during_a_layer(built: Built, run_of: Keep, tmp_path: Path) -> None:
    """The build folder is on a file system of its own, which is filled while layer 1 runs."""
    image, mount = tmp_path / "disk.img", tmp_path / "mnt"
    mount.mkdir()
    with image.open("wb") as stream:
        stream.truncate(40 * 1024**3)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        place = Place(mount / "place")
        place.folder.mkdir()
        place.root.mkdir(parents=True)
        shutil.copytree(built.store.folder, place.store.folder)
        place.cut("base")
        run = run_of(place.start())
        run.wait_for(r"(changed|ok) +common")
        fill(mount)
        assert run.end(REACH_S) == HostError.exit_code, run.text[-3000:]
        assert "is full" in run.text
        assert "cube chain prune" in run.text
        assert "Traceback" not in run.text
        place.assert_nothing_left()
        place.cube("chain", "prune", "--keep", "0")
        for filler in mount.glob("filler*"):
            filler.unlink()
        place.cube("chain", "verify")
        again = run_of(place.start())
        again.wait_for(r"(changed|ok) +common")
        assert re.search(r"base \w{12} is reused", again.text)
        again.process.send_signal(signal.SIGINT)
        assert again.end() == INTERRUPTED, again.text[-3000:]
    finally:
        subprocess.run(["umount", mount], check=True)


def fill(folder: Path) -> None:
    """Take all free space without writing it."""
    free = os.statvfs(folder)
    for number, part in enumerate((1.0, 0.5, 0.1, 0.01)):
        size = int(free.f_bavail * free.f_frsize * part)
        path = folder / f"filler{number}"
        subprocess.run(["fallocate", "-l", str(size), path], check=False, capture_output=True)
        free = os.statvfs(folder)
