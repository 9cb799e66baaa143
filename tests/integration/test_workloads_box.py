"""The suite of Docker on a box as it is shipped, and all suites on one box with all frameworks."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.disks import mount, qcow2
from cube.machines import Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run
from cube.runtime.errors import ValidationError
from tests.integration.conftest import Built
from tests.integration.desk import Desk, standing_on
from tests.integration.growth import create_roomy
from tests.integration.test_workloads import DEFERRED, PYTORCH, TENSORFLOW, VLLM
from tests.integration.workloads import Environments, Told


@pytest.fixture(scope="module")
def box(
    built: Built, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("docker")
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, built.store.named("layer5").disk.absolute())
    request = MachineRequest(name="docker", disk=overlay, run_dir=folder / "run", key_file=key_file)
    with Containers().start(request) as machine:
        ssh.execute(machine.endpoint, "sudo systemctl is-system-running --wait", accept=(0, 1))
        pyinfra_run.apply(5, machine)  # the link may be of an older checkout (CUBE_TEST_BUILD)
        yield machine
        machine.shutdown()


def test_docker_runs_containers_and_nothing_stays(box: Machine) -> None:
    done = ssh.execute(box.endpoint, "sudo test-docker-gpu.sh --json", accept=(0, 1))
    told = Told(done.returncode, json.loads(done.stdout), done.stderr)
    assert told.details("FAIL") == {}
    assert set(told.details("OK")) == {
        "daemon answers",
        "image",
        "container runs",
        "container survives daemon-reload",
    }
    assert (told.code, told.data["evidence"]) == (0, "cpu")
    left = "sudo docker ps --all --quiet; sudo docker images --quiet cube-suite*"
    assert ssh.execute(box.endpoint, left).stdout == ""


@pytest.mark.parametrize("suite", [PYTORCH, TENSORFLOW, VLLM])
def test_a_box_without_the_framework_says_not_run(box: Machine, suite: str) -> None:
    done = ssh.execute(box.endpoint, f"{suite} --json", accept=(77,))
    assert "layer 4 makes it" in json.loads(done.stdout)["reason"]


#: Of the box's root file system, in bytes: three environments take five gigabytes.
ROOMY = 24 * 1024**3


@pytest.fixture(scope="module")
def whole(
    built: Built,
    environments: Environments,
    key_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    """A box with layers 1 and 5, and all frameworks at once, where layer 4 puts them."""
    folder = tmp_path_factory.mktemp("whole")
    overlay = folder / "disk.qcow2"
    create_roomy(overlay, built.store.named("layer5").disk.absolute(), ROOMY)
    with mount.mounted(overlay, folder / "look", writable=True) as root:
        environments.bring(root)
    with standing_on(overlay, key_file, folder) as desk:
        applied = desk.cube("apply", "--layers", "1,5", "--no-checks")  # an older link (see above)
        assert applied.code == 0, applied.told[-1]
        yield desk


@pytest.mark.workloads
def test_a_validation_of_a_box_with_all_frameworks(whole: Desk) -> None:
    done = whole.cube("validate", "--quick")

    told = done.of("validation")
    outcomes = {one["suite"]: (one["outcome"], one["evidence"]) for one in told["suites"]}
    assert outcomes == {
        "gpus": ("not_run", "none"),
        **dict.fromkeys(("pytorch", "tensorflow", "vllm", "docker"), ("pass", "cpu")),
    }, done.of("error")
    # No GPU: it is said, and nobody takes it for a pass.
    assert (told["verdict"], told["evidence"]) == ("incomplete", "cpu")
    assert done.code == ValidationError.exit_code
    assert "no NVIDIA GPU" in done.of("error")["text"]
    for suite, names in {"pytorch": PYTORCH, "tensorflow": TENSORFLOW, "vllm": VLLM}.items():
        (one,) = [one for one in told["suites"] if one["suite"] == suite]
        deferred = {row["name"] for row in one["findings"] if row["status"] == "SKIP"}
        assert deferred == DEFERRED[names]
    page = Path(told["files"]["html"]).read_text()
    assert page.count("<svg") >= 3
    assert whole.sh("systemctl is-active cube-suite.service || true").strip() == "inactive"
    assert whole.sh("pgrep -f '/opt/[c]ube/venvs/' || true") == ""
