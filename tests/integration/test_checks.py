"""The checks of layers 1 and 5 pass on a good machine, and each can fail.

A fault is planted in a container that has both layers; its own checks must fail, the other
ones of the same file must not, and once it is undone everything passes again.
"""

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.config.workspace import Workspace
from cube.disks import qcow2
from cube.machines import Endpoint, Machine, MachineRequest, record, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pytest_run
from cube.runtime import check_report
from cube.runtime.check_report import Check
from cube.runtime.errors import CheckError
from tests.integration.conftest import Built, write_spec
from tests.integration.planted import FAULTS, ROUNDS

PROJECT = Path(__file__).parents[2]
EVERYTHING = ("checks/layer1", "checks/layer5")


@pytest.fixture(scope="module")
def machine(
    built: Built, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A container of the last layer's disk."""
    folder = tmp_path_factory.mktemp("checks")
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, built.store.named("layer5").disk)
    run_dir = built.work.machines / "faults"
    request = MachineRequest(name="faults", disk=overlay, run_dir=run_dir, key_file=key_file)
    with Containers().start(request) as running:
        ssh.execute(running.endpoint, "sudo systemctl is-system-running --wait", accept=(0, 1))
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def box(machine: Machine) -> Endpoint:
    return machine.endpoint


def judge(box: Endpoint, built: Built, results: Path, *select: str) -> tuple[Check, ...]:
    with contextlib.suppress(CheckError):
        pytest_run.run_checks(
            pytest_run.CheckRun(
                target=box,
                select=select,
                spec_file=built.spec.file,
                results_dir=results,
                name="run",
            )
        )
    checks = check_report.read_entries((results / "run.jsonl").read_text().splitlines())
    assert checks
    return checks


def as_root(box: Endpoint, script: str) -> None:
    ssh.execute(box, f"sudo sh -c {ssh.quote(script)}")


def failures(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.title: check.reason for check in checks if check.outcome == "failed"}


@pytest.mark.parametrize("name", ROUNDS)
def test_faults_fail_their_own_checks_only(
    box: Endpoint, built: Built, tmp_path: Path, name: str
) -> None:
    faults = [FAULTS[fault] for fault in ROUNDS[name]]
    with contextlib.ExitStack() as planted:  # one that cannot be undone keeps no other
        for fault in faults:
            planted.callback(as_root, box, fault.undo)
            as_root(box, fault.plant)
        found = failures(judge(box, built, tmp_path, *sorted({fault.file for fault in faults})))
    assert set(found) == {title for fault in faults for title in fault.fails}, found


def test_every_fault_is_planted() -> None:
    assert sorted(name for names in ROUNDS.values() for name in names) == sorted(FAULTS)


def test_a_good_machine_passes_everything_and_is_left_as_it_was(
    box: Endpoint, built: Built, tmp_path: Path
) -> None:
    before = traces(box)
    checks = judge(box, built, tmp_path, *EVERYTHING)
    assert failures(checks) == {}
    assert {check.evidence for check in checks} == {"container"}
    deferred = {check.title for check in checks if check.outcome == "deferred"}
    assert "kernel setting is in force (vm.max_map_count)" in deferred
    assert traces(box) == before
    ours = [
        file
        for file in Path("/tmp").glob("cube-checks-*/targets")
        if f"-p {box.port} " in file.read_text()
    ]
    assert ours == []


def traces(box: Endpoint) -> str:
    script = (
        "docker ps -aq; docker images -q; ip netns; ip -br link | cut -d' ' -f1;"
        " ls -A --ignore='systemd-private-*' /tmp /root"
        " /root/.ssh 2>&1; systemctl list-units --plain --no-legend 'cube-check*';"
        " fail2ban-client get sshd banip; cat ~cube/.ssh/* 2>&1; true"
    )
    return ssh.execute(box, f"sudo sh -c {ssh.quote(script)}").stdout


def test_a_machine_that_was_left_up_is_judged_by_its_name(
    machine: Machine, built: Built, tmp_path: Path
) -> None:
    # As `cube up` leaves it: the record says that it stays.
    folder = Workspace(root=tmp_path / "build/debian-13", name="left").machines / "left"
    folder.mkdir(parents=True)
    kept = record.read(built.work.machines / machine.name / record.FILE_NAME)
    record.write(dataclasses.replace(kept, name="left", run_dir=folder, detached=True))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "checks/",
            "-m",
            "layer1",
            "-k",
            "sudo",
            "-v",
            "--hosts=left",
            f"--spec={write_spec(tmp_path, tmp_path / 'build')}",
        ],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_sudo_rules_are_valid[ssh://left] PASSED" in done.stdout


def test_a_run_without_a_check_is_an_error(box: Endpoint, built: Built, tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="code 5: no check ran"):
        pytest_run.run_checks(
            pytest_run.CheckRun(
                target=box,
                select=["checks"],
                marker="layer4",
                spec_file=built.spec.file,
                results_dir=tmp_path,
                name="nothing",
            )
        )


def test_a_gpu_layer_is_judged_where_the_machine_says_that_it_has_it(
    box: Endpoint, built: Built, tmp_path: Path
) -> None:
    record = "/var/lib/cube/layers.json"
    claim = f'cp {record} /root/kept && sed -i \'s/"5":/"4": {{}}, "5":/\' {record}'
    try:
        as_root(box, claim)
        found = failures(judge(box, built, tmp_path, "checks/layer4"))
    finally:
        as_root(box, f"mv /root/kept {record}")
    assert found


def test_a_run_in_which_all_is_deferred_is_an_error(
    box: Endpoint, built: Built, tmp_path: Path
) -> None:
    with pytest.raises(CheckError, match="code 5: no check ran"):
        pytest_run.run_checks(
            pytest_run.CheckRun(
                target=box,
                select=["checks/layer1/test_common.py::test_clock_agrees_with_the_network"],
                spec_file=built.spec.file,
                results_dir=tmp_path,
                name="deferred",
            )
        )
