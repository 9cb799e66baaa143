"""Layer 4 on a real machine: real uv, real wheels of TensorFlow's build for processors.

Every download goes through an index of the tests' own, which counts and misbehaves.
"""

import contextlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.markers import Marker

from cube import config
from cube.config import Spec
from cube.disks import qcow2
from cube.machines import Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run
from cube.provision.pyinfra_run import Applied
from cube.provision.pytest_run import CheckRun, run_checks
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import CommandError, ProvisionError
from cube.stack import lockfile
from deploy.operations.programs import package_files
from deploy.runner.sources import ON_HOST, Programs
from tests.integration.conftest import PROJECT
from tests.integration.index import Index, serve

PROFILE = PROJECT / "tests/integration/profiles/cpu"
LAUNCHER = "/usr/local/bin/cube-python"
TENSORFLOW, NUMPY = "tensorflow_cpu", "numpy"
#: Seconds until all but the largest wheel have come; half a minute was measured.
COME_S = 240


@dataclass(frozen=True)
class Box:
    """A machine with layer 1 on it."""

    machine: Machine
    index: Index
    folder: Path

    def sh(self, command: str) -> str:
        """Run a command as root."""
        return ssh.execute(self.machine.endpoint, f"sudo sh -c {ssh.quote(command)}").stdout

    def user(self, command: str) -> str:
        """Run a command as an ordinary user."""
        return ssh.execute(self.machine.endpoint, command).stdout

    def spec(self, profile: Path, *frameworks: str, jupyter: bool = False) -> Spec:
        """Write and read a specification."""
        names = ", ".join(f'"{name}"' for name in frameworks)
        file = self.folder / "cube.toml"
        file.write_text(
            f'[build]\ndir = "build"\n[gpu]\nmode = "assume"\n'
            f'[network]\npypi_index = "{self.index.url}"\n'
            f'[stack]\nprofile = "{profile}"\nframeworks = [{names}]\n'
            f"jupyter = {str(jupyter).lower()}\n"
        )
        return config.load(file)

    def apply(self, profile: Path, *frameworks: str) -> Applied:
        """Apply layer 4."""
        return pyinfra_run.apply(4, self.machine, spec=self.spec(profile, *frameworks))


def write_profile(folder: Path, name: str, lock: str, *, mib: int = 200) -> Path:
    """Write a profile of one framework, which is numpy under another name."""
    text = (PROFILE / "profile.toml").read_text().split("[frameworks")[0]
    table = f'[frameworks.{name}]\nversion = "1"\nrequirements = ["numpy"]\ndisk_mib = {mib}\n'
    (folder / "profile.toml").write_text(text + table)
    (folder / f"{name}.txt").write_text(lock)
    return folder


def wheels_of(framework: str) -> list[str]:
    """Return the packages of a lock that Debian's Python takes."""
    here = {
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "python_version": "3.13",
        "python_full_version": "3.13.5",
    }
    entries = lockfile.read(PROFILE / f"{framework}.txt").entries
    return [one.name for one in entries if not one.marker or Marker(one.marker).evaluate(here)]


def lock_of(package: str) -> str:
    """Return what the lock says of one package."""
    lines = (PROFILE / "numpy.txt").read_text().splitlines(keepends=True)
    (start,) = [number for number, line in enumerate(lines) if line.startswith(f"{package}==")]
    end = start + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    return "".join(lines[start:end]).rstrip(" \\\n") + "\n"


@pytest.fixture(scope="module")
def box(
    layer1_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("frameworks")
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, layer1_disk)
    request = MachineRequest(
        name="frameworks", disk=overlay, run_dir=folder / "run", key_file=key_file
    )
    (folder / "index").mkdir()
    with serve(folder / "index") as index, Containers().start(request) as machine:
        yield Box(machine, index, folder)


@dataclass(frozen=True)
class Story:
    """A first application that was killed, and the one after it."""

    error: ProvisionError
    sent_before: Counter[str]
    listed_between: str
    refused_between: str
    sent_after: Counter[str]
    spec: Spec


@pytest.fixture(scope="module")
def story(box: Box) -> Story:
    """Both environments: numpy's wheel breaks off once, TensorFlow's download is killed."""
    index, wanted = box.index, box.spec(PROFILE, "numpy", "tensorflow", jupyter=True)
    index.sent.clear()
    index.cut.add(NUMPY)
    index.slow.add(TENSORFLOW)
    over = threading.Event()
    killer = threading.Thread(target=kill_when_all_but_one_came, args=(box, over))
    killer.start()
    with pytest.raises(ProvisionError) as caught:
        pyinfra_run.apply(4, box.machine, spec=wanted)
    over.set()
    killer.join()
    before = index.sent.copy()
    listed = box.user(LAUNCHER)
    with pytest.raises(CommandError) as refused:
        box.user(f"{LAUNCHER} tensorflow -c pass")
    index.slow.clear()
    pyinfra_run.apply(4, box.machine, spec=wanted)
    return Story(caught.value, before, listed, refused.value.output, index.sent - before, wanted)


def kill_when_all_but_one_came(box: Box, over: threading.Event) -> None:
    """Kill every uv once it has every wheel but TensorFlow's, and numpy's environment is whole."""
    rest = len(wheels_of("tensorflow")) - 1
    deadline = time.monotonic() + COME_S
    while len(box.index.sent) < rest or not box.index.asked[TENSORFLOW] or not whole(box, "numpy"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    while not over.wait(1):  # the one that loads ahead, then the one that makes the environment
        with contextlib.suppress(CommandError):
            box.sh("pkill -KILL --exact uv")


def whole(box: Box, name: str) -> bool:
    """Tell whether an environment was made."""
    lock = f"/opt/cube/venvs/{name}/requirements.txt"
    return box.sh(f"test -e {lock} && echo yes || true").strip() == "yes"


def test_wheels_come_before_their_layer(box: Box, tmp_path: Path) -> None:
    wanted = box.spec(write_profile(tmp_path, "early", lock_of("numpy")), "early")
    box.index.sent.clear()
    assert load_ahead(box, wanted, tmp_path) == [True]
    assert box.index.sent == {NUMPY: 1}
    assert not whole(box, "early")
    assert box.sh("stat -c %a /run/cube-wheels /run/cube-wheels/load").split() == ["700", "600"]
    # One that still loads something else does not get in the way.
    box.sh("systemd-run --quiet --unit=cube-wheels sleep 600")
    pyinfra_run.apply(4, box.machine, spec=wanted)
    assert whole(box, "early")
    assert box.sh("systemctl is-active cube-wheels || true").strip() == "inactive"
    assert box.index.sent == {NUMPY: 1}
    assert box.sh("ls -d /opt/cube/cache /run/cube-wheels 2>/dev/null || true") == ""
    assert load_ahead(box, wanted, tmp_path) == [False]
    box.sh("rm -r /opt/cube/venvs/early")


#: What the first layer above layer 1 does before its own operations.
AHEAD = """
from pyinfra import host, state
from deploy.runner import events, layers
layers.load_ahead([4], host, events.recorder(state, host))
"""


def load_ahead(box: Box, wanted: Spec, folder: Path) -> list[bool]:
    """Load ahead, and wait for it; return whether each of its operations changed something."""
    file = folder / "ahead.py"
    file.write_text(AHEAD)
    with pyinfra_run.described(box.machine, wanted, keys={}, building=True) as (scratch, env):
        code, journal = pyinfra_run.run_pyinfra(
            ["inventory.py", str(file)], env, scratch, timeout_s=COME_S
        )
    assert code == 0, journal.tail()
    box.sh("while systemctl is-active --quiet cube-wheels; do sleep 0.1; done")
    return [event["changed"] for event in journal.of("end")]


def test_nothing_is_loaded_ahead_for_a_disk_without_room(box: Box, tmp_path: Path) -> None:
    profile = write_profile(tmp_path, "large", lock_of("numpy"), mib=10**6)
    asked = box.index.asked.total()
    assert load_ahead(box, box.spec(profile, "large"), tmp_path) == [True]
    assert box.index.asked.total() == asked
    assert box.sh("ls /run/cube-wheels/load 2>/dev/null || true") == ""
    box.sh("rm -r /run/cube-wheels")


def test_a_wrong_hash_is_refused_by_the_name_of_its_package(box: Box, tmp_path: Path) -> None:
    lock = re.sub("sha256:....", "sha256:0000", lock_of("numpy"))
    profile = write_profile(tmp_path, "wrong", lock.removesuffix("\\\n") + "\n")
    with pytest.raises(ProvisionError) as caught:
        box.apply(profile, "wrong")
    assert caught.value.message.endswith("Make the environment wrong as its lock says: failed")
    assert "Hash mismatch for `numpy==" in caught.value.details
    assert "Computed:" in caught.value.details
    assert "wrong        NOT WHOLE" in box.user(LAUNCHER)
    box.sh("rm -r /opt/cube/venvs/wrong")


def test_no_space_is_known_before_the_download(box: Box, tmp_path: Path) -> None:
    asked = box.index.asked.total()
    with pytest.raises(ProvisionError) as caught:
        box.apply(write_profile(tmp_path, "large", lock_of("numpy"), mib=10**6), "large")
    assert "1000000 MiB and 1024 MiB to work with are needed" in caught.value.details
    assert "MiB are missing; nothing was downloaded" in caught.value.details
    assert box.index.asked.total() == asked


def test_an_index_that_is_down_is_named(box: Box, tmp_path: Path) -> None:
    box.index.down = True
    with pytest.raises(ProvisionError) as caught:
        box.apply(write_profile(tmp_path, "alone", lock_of("numpy")), "alone")
    box.index.down = False
    assert box.index.url in caught.value.details
    box.sh("rm -r /opt/cube/venvs/alone")


def test_a_lock_without_hashes_is_refused(box: Box, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError) as caught:
        box.apply(write_profile(tmp_path, "open", "numpy==2.5.5\n"), "open")
    assert "open.txt locks no package by its hash" in caught.value.details


def test_a_killed_download_is_a_failure_that_names_its_environment(story: Story) -> None:
    assert "Make the environment tensorflow as its lock says" in story.error.message


def test_what_is_not_whole_is_told_and_not_started(story: Story) -> None:
    assert "tensorflow   NOT WHOLE" in story.listed_between
    assert "numpy        Python 3.13" in story.listed_between
    assert "is not whole: apply layer 4 again" in story.refused_between


def test_a_download_that_was_killed_goes_on(story: Story) -> None:
    assert len(story.sent_before) > 50
    assert TENSORFLOW not in story.sent_before
    assert {name for name in story.sent_after if name} == {TENSORFLOW}


def test_a_wheel_that_broke_off_was_asked_for_again(box: Box, story: Story) -> None:
    assert NUMPY not in box.index.cut
    assert story.sent_before[NUMPY] == 1


def test_a_second_application_changes_nothing(box: Box, story: Story) -> None:
    again = pyinfra_run.prove_idempotent(4, box.machine, spec=story.spec)
    assert again.changed == ()
    assert again.execs == again.operations  # one fact each


def test_checks_pass(box: Box, story: Story) -> None:
    report = judge(box, story.spec)
    passed = {check.title for check in report.checks if check.outcome == "passed"}
    assert {"framework starts (tensorflow)", "framework calculates (tensorflow)"} <= passed
    assert "environments share their files (numpy and tensorflow)" in passed


def judge(box: Box, wanted: Spec) -> CheckReport:
    return run_checks(
        CheckRun(
            target=box.machine.endpoint,
            select=["checks"],
            marker="layer4",
            name="layer4",
            spec_file=wanted.file,
            results_dir=box.folder,
        )
    )


def test_the_box_finds_itself_well(box: Box, story: Story) -> None:
    for path, text in package_files(Programs("health")).items():
        dest = path.replace(ON_HOST, "/tmp/guest")
        put = f"mkdir -p {Path(dest).parent} && cat > {dest}"
        ssh.execute(box.machine.endpoint, put, stdin=text)
    told = json.loads(box.sh("/usr/bin/python3 -IB /tmp/guest health.layers 4 --json"))
    assert [(one["name"], one["status"]) for one in told["checks"]] == [
        ("numpy starts", "OK"),
        ("tensorflow starts", "OK"),
    ]


def test_an_ordinary_user_may_read_all_and_change_nothing(box: Box, story: Story) -> None:
    assert box.user("find /opt/cube/venvs ! -type l ! -readable -o ! -type l -writable") == ""


#: Source: docs/gpu-stack.md, "Add packages of your own".
EXTEND = """
set -e
python3 -m venv ~/mine
echo /opt/cube/venvs/numpy/lib/python3*/site-packages \
    > ~/mine/lib/python3.13/site-packages/cube.pth
uv pip freeze --quiet --python /opt/cube/venvs/numpy > ~/mine/pins.txt
~/mine/bin/pip install --quiet --no-index --constraint ~/mine/pins.txt numpy
~/mine/bin/python -c 'import numpy; print(numpy.__file__)'
"""


def test_a_user_can_add_to_an_environment(box: Box, story: Story) -> None:
    assert box.user(EXTEND).startswith("/opt/cube/venvs/numpy/")


KERNEL = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="tensorflow")
reply = client.execute_interactive("import sys; print(sys.prefix)", timeout=60)
manager.shutdown_kernel()
"""


def test_jupyter_starts_a_kernel(box: Box, story: Story) -> None:
    said = box.user(f"{LAUNCHER} numpy -c {ssh.quote(KERNEL)}")
    assert said.strip().endswith("/opt/cube/venvs/tensorflow")


def test_a_signal_reaches_the_program(box: Box, story: Story) -> None:
    code = "import signal; signal.signal(15, lambda *_: exit(9)); print(flush=True); signal.pause()"
    script = f"{LAUNCHER} numpy -c '{code}' & sleep 2; kill $!; wait $!; echo $?"
    assert box.user(script).split() == ["9"]


def test_another_lock_changes_what_differs(box: Box, story: Story, tmp_path: Path) -> None:
    asked = box.index.asked.copy()
    profile = write_profile(tmp_path, "numpy", lock_of("numpy"))
    box.apply(profile, "numpy")
    names = box.sh(f"{LAUNCHER} numpy -c {ssh.quote(DISTRIBUTIONS)}").split()
    assert names == ["numpy"]
    assert (box.index.asked - asked)[NUMPY] == 0


DISTRIBUTIONS = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
