"""The chain as a user meets it: what is reused, what is made anew, what a kill leaves."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cube.chain.store.integrity import damaged
from cube.machines import record as records
from cube.runtime.errors import INTERRUPTED, CheckError, ProvisionError
from tests.integration.conftest import Built, copy_project, plant_check, write_spec
from tests.integration.test_faults import (
    END_S,
    REACH_S,
    Keep,
    Place,
    Run,
    chained,
    kill_machine,
    place,
    run_of,
)
from tests.processes import environment_of, running

__all__ = ["chained", "place", "run_of"]

#: Seconds for a build that finds everything as it was; the target is 10 on a quiet machine.
NO_CHANGE_S = 30


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, to change something in it."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def published(chained: Place, built: Built) -> Place:
    """A build folder in which the image is there as well."""
    for path in built.work.root.glob("*"):
        if path.is_file() and path.name != "lock":
            os.link(path, chained.root / path.name)
    return chained


def stop(run: Run) -> None:
    """Interrupt a build that came as far as a test wanted it."""
    run.process.send_signal(signal.SIGINT)
    assert run.end() == INTERRUPTED, run.text[-3000:]


def touch(project: Path, name: str) -> None:
    """Change a source without changing what it does."""
    with (project / name).open("a") as stream:
        stream.write("\n# changed\n")


def test_without_a_change_nothing_is_made(published: Place, run_of: Keep) -> None:
    started = time.monotonic()
    run = run_of(published.start())
    assert run.end(REACH_S) == 0, run.text[-3000:]
    assert time.monotonic() - started < NO_CHANGE_S
    assert "nothing has changed" in run.text
    assert "Booting" not in run.text
    assert not published.store.unfinished.exists()


def test_an_image_that_was_changed_on_disk_is_not_called_up_to_date(
    published: Place, run_of: Keep
) -> None:
    artifact = next(published.root.glob("*.qcow2"))
    private_copy(artifact)
    flip_a_byte(artifact)
    run = run_of(published.start())
    run.wait_for("Stage 4")
    assert "is not what its manifest says" in run.text
    assert "Applying layer" not in run.text
    stop(run)


def test_a_change_in_one_role_makes_its_layer_anew_and_nothing_else(
    chained: Place, project: Path, run_of: Keep
) -> None:
    before = chained.store.named("layer5")
    touch(project, "deploy/roles/monitoring.py")
    run = run_of(chained.start(project=project))
    run.wait_for("Stage 4")
    assert re.search(r"base \w{12} is reused", run.text)
    assert re.search(r"layer1 \w{12} is reused", run.text)
    assert "deploy/roles/monitoring.py changed" in run.text
    assert "Applying layer 1" not in run.text
    stop(run)
    made = chained.store.head
    assert made is not None
    assert (made.name, made.parent) == ("layer5", before.parent)
    assert made.key != before.key
    assert chained.store.by_key(before.key) == before


def private_copy(path: Path) -> None:
    """Give a hard-linked file bytes of its own."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    copy.chmod(path.stat().st_mode)
    copy.replace(path)


def flip_a_byte(path: Path) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))
    path.chmod(mode)


def test_a_link_that_was_damaged_is_named_and_made_anew(chained: Place, run_of: Keep) -> None:
    link = chained.store.named("layer5")
    private_copy(link.disk)
    flip_a_byte(link.disk)
    run = run_of(chained.start())
    run.wait_for("Applying layer 5")
    assert f"layer5 {link.short} is damaged and is made anew" in run.text
    assert re.search(r"layer1 \w{12} is reused", run.text)
    stop(run)
    assert chained.store.named("").name == "layer1"


def kill_pyinfra(place: Place) -> None:
    """SIGKILL the pyinfra of a build: the child of `cube` that runs the module."""
    for pid, words in running():
        if "pyinfra" in words and str(place.folder) in environment_of(pid):
            os.kill(pid, signal.SIGKILL)
            return
    pytest.fail(f"no pyinfra runs for {place.folder}")


def kill_cube(place: Place) -> None:
    """SIGKILL the build itself."""
    for pid, words in running():
        if words[1:4] == ["-m", "cube", "build"] and str(place.folder / "cube.toml") in words:
            os.kill(pid, signal.SIGKILL)
            return
    pytest.fail(f"no build runs for {place.folder}")


#: What is below a layer, and the first role in it; layers 2 to 4 are in test_kills.py.
BELOW = {1: ("base", "common"), 5: ("layer1", "monitoring")}


@pytest.mark.parametrize("layer", [pytest.param(1, marks=pytest.mark.exhaustive), 5])
@pytest.mark.parametrize(
    "kill",
    [kill_cube, kill_machine, pytest.param(kill_pyinfra, marks=pytest.mark.exhaustive)],
)
def test_after_a_kill_the_same_command_goes_on(
    chained: Place, run_of: Keep, kill: Callable[[Place], None], layer: int
) -> None:
    below, role = BELOW[layer]
    chained.cut(below)
    run = run_of(chained.start())
    run.wait_for(rf"(changed|ok) +{role}")
    kill(chained)
    assert run.end() not in {0, INTERRUPTED}
    assert "Traceback" not in run.text
    chained.assert_nothing_left()
    assert chained.store.named("").name == below
    again = run_of(chained.start())
    again.wait_for(rf"(changed|ok) +{role}")
    assert re.search(rf"{below} \w{{12}} is reused", again.text)
    stop(again)
    chained.assert_nothing_left()


def assert_whole(place: Place) -> None:
    """Whatever has its name in a store is whole."""
    links = place.store.links()
    assert damaged(links, links) == []


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("Applying layer 5 again", marks=pytest.mark.exhaustive),
        pytest.param("Restarting the machine", marks=pytest.mark.exhaustive),
        "Checking layer 5",
        pytest.param("Freezing layer 5", marks=pytest.mark.exhaustive),
    ],
)
def test_after_a_kill_late_in_a_layer_the_same_command_finishes_it(
    chained: Place, run_of: Keep, step: str
) -> None:
    chained.cut("layer1")
    run = run_of(chained.start("--to", "layer5"))
    run.wait_for(step)
    kill_cube(chained)
    assert run.end() not in {0, INTERRUPTED}
    chained.assert_nothing_left()
    assert_whole(chained)
    again = run_of(chained.start("--to", "layer5"))
    assert again.end(REACH_S) == 0, again.text[-3000:]
    assert re.search(r"layer1 \w{12} is reused", again.text)
    assert chained.store.named("").name == "layer5"
    assert_whole(chained)
    chained.assert_nothing_left()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("layer", "kill"), [(1, kill_machine), (5, kill_cube), (5, kill_machine), (5, kill_pyinfra)]
)
def test_after_a_kill_in_a_virtual_machine_the_same_command_goes_on(
    chained: Place, run_of: Keep, kill: Callable[[Place], None], layer: int
) -> None:
    below, role = BELOW[layer]
    chained.cut(below)
    spec = write_spec(chained.folder, chained.folder / "build").read_text()
    spec = spec.replace('machine = "auto"', 'machine = "vm"')
    assert 'machine = "vm"' in spec
    run = run_of(chained.start(spec=spec))
    run.wait_for(f"(changed|ok) +{role}")
    kill(chained)
    assert run.end() not in {0, INTERRUPTED}
    assert "Traceback" not in run.text
    chained.assert_nothing_left()
    assert chained.store.named("").name == below
    again = run_of(chained.start(spec=spec))
    again.wait_for("Booting build as a virtual machine")
    assert re.search(rf"{below} \w{{12}} is reused", again.text)
    stop(again)
    chained.assert_nothing_left()


def test_a_layer_that_fails_its_check_is_not_frozen(
    chained: Place, project: Path, run_of: Keep
) -> None:
    chained.cut("layer1")
    plant_check(project)
    run = run_of(chained.start(project=project))
    assert run.end(REACH_S) == CheckError.exit_code, run.text[-3000:]
    assert "test_planted" in run.text
    assert "cube up --at failed" in run.text
    assert "Stage 4" not in run.text
    assert chained.store.unfinished.exists()
    assert chained.store.named("").name == "layer1"
    chained.assert_nothing_left()
    look_into_what_failed(chained)


def look_into_what_failed(place: Place) -> None:
    """Boot the disk that was kept: it has what the layer did."""
    place.cube("up", "--at", "failed")
    assert place.cube("ssh", inside=["command -v cube-top"]) == "/usr/local/bin/cube-top\n"
    place.cube("down")
    place.assert_nothing_left()


PLANTED = """    server.shell(name="Write the time", commands="date +%N >/etc/planted")
    now = StringIO(f"the time is\\n{time_ns()}\\n")
    files.put(name="Put the time", src=now, dest="/etc/planted-file")
"""
#: What is written after lines of the role; the code must stay clean.
PLANTS = {
    "from dataclasses import dataclass\n": "from io import StringIO\nfrom time import time_ns\n",
    "from pyinfra.api import deploy\n": "from pyinfra.operations import files, server\n",
    "    data = read(Monitoring)\n": PLANTED,
}


def test_an_operation_that_always_changes_something_stops_the_layer(
    chained: Place, project: Path, run_of: Keep
) -> None:
    chained.cut("layer1")
    role = project / "deploy/roles/monitoring.py"
    text = role.read_text()
    for line, planted in PLANTS.items():
        assert line in text
        text = text.replace(line, line + planted)
    role.write_text(text)
    run = run_of(chained.start(project=project))
    assert run.end(REACH_S) == ProvisionError.exit_code, run.text[-3000:]
    assert "layer 5: its second application changed something: 2 operations" in run.text
    assert "monitoring: Write the time: " in run.text
    assert "date +%N >/etc/planted" in run.text
    assert re.search(
        r"monitoring: Put the time: .*\n +Will modify /etc/planted-file\n +@@ .*\n"
        r" +the time is\n +- \d+\n +\+ \d+\n",
        run.text,
    )
    assert chained.store.named("").name == "layer1"
    chained.assert_nothing_left()


def cut_network(place: Place) -> None:
    """Take the way to the world from the container of a build; its SSH goes on."""
    machine = records.running(place.root / "work" / "machines")[0]
    inside = ["nsenter", "-t", str(machine.life.pid), "-n"]
    subprocess.run([*inside, "ip", "route", "del", "default"], check=True)


def test_a_network_that_goes_away_during_apt_is_told_and_the_build_goes_on_later(
    chained: Place, run_of: Keep
) -> None:
    chained.cut("base")
    # The cache of packages is on this machine, and would still answer.
    text = write_spec(chained.folder, chained.folder / "build").read_text()
    uncached = text.replace('package_cache = "auto"', 'package_cache = "off"')
    run = run_of(chained.start(spec=uncached))
    run.wait_for("Applying layer 1")
    cut_network(chained)
    started = time.monotonic()
    assert run.end(REACH_S) == ProvisionError.exit_code, run.text[-3000:]
    assert time.monotonic() - started < END_S  # it tried again, but not for ever
    assert re.search(r"layer 1: common: .*: failed", run.text)
    assert "run cube build again" in run.text
    chained.assert_nothing_left()
    again = run_of(chained.start())
    again.wait_for(r"changed common: Fetch package lists")
    stop(again)
