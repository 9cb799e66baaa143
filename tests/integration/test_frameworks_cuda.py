"""The Cube's own frameworks, from real wheels for CUDA, without a GPU: `make test-gpu-stack`.

Seven gigabytes are downloaded and seventeen written; five minutes were measured.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.hosts.target import Box
from cube.hosts.validation import validation
from cube.hosts.validation.catalog import named
from cube.hosts.validation.validation import Wanted
from cube.machines import Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run
from cube.provision.pytest_run import CheckRun, run_checks
from tests.integration.conftest import Built
from tests.integration.growth import create_roomy

pytestmark = pytest.mark.gpu_stack

DISK_BYTES = 60 * 1024**3


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    """What the shipped cube.toml says of the stack."""
    file = tmp_path_factory.mktemp("cuda") / "cube.toml"
    file.write_text('[build]\ndir = "build"\n[gpu]\nmode = "assume"\n')
    return config.load(file)


@pytest.fixture(scope="module")
def machine(
    built: Built, wanted: Spec, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A machine with layers 1 and 4."""
    folder = tmp_path_factory.mktemp("cuda-machine")
    overlay = folder / "disk.qcow2"
    create_roomy(overlay, built.store.named("layer1").disk.absolute(), DISK_BYTES)
    request = MachineRequest(name="cuda", disk=overlay, run_dir=folder / "run", key_file=key_file)
    try:
        with Containers().start(request) as started:
            pyinfra_run.apply(4, started, spec=wanted)
            yield started
    finally:
        overlay.unlink()


def test_a_second_application_changes_nothing(machine: Machine, wanted: Spec) -> None:
    assert pyinfra_run.prove_idempotent(4, machine, spec=wanted).changed == ()


def test_checks_pass_but_those_that_need_a_gpu(
    machine: Machine, wanted: Spec, tmp_path: Path
) -> None:
    report = run_checks(
        CheckRun(
            target=machine.endpoint,
            select=["checks"],
            marker="layer4",
            name="layer4",
            spec_file=wanted.file,
            results_dir=tmp_path,
        )
    )
    deferred = [check.title for check in report.checks if check.outcome == "deferred"]
    assert {title.split(" (")[0] for title in deferred} == {"torch sees every gpu"}


def test_torch_is_on_the_disk_once(machine: Machine) -> None:
    places = "/opt/cube/venvs/*/lib/python3.13/site-packages/torch/lib/libtorch_cuda.so"
    told = ssh.execute(machine.endpoint, f"stat --format %i {places}").stdout.split()
    assert len(told) == 2
    assert len(set(told)) == 1


def test_three_take_less_than_one_and_one_and_one(machine: Machine) -> None:
    venvs = "/opt/cube/venvs"
    together = int(ssh.execute(machine.endpoint, f"du -sm {venvs}").stdout.split()[0])
    each = "; ".join(f"du -sm {venvs}/{name}" for name in ("pytorch", "tensorflow", "vllm"))
    lines = ssh.execute(machine.endpoint, each).stdout.splitlines()
    alone = [int(line.split()[0]) for line in lines]
    assert together < 0.8 * sum(alone), (together, alone)


def test_the_suites_run_on_the_processor(machine: Machine, wanted: Spec) -> None:
    pyinfra_run.apply(5, machine, spec=wanted)
    box = Box(name="cuda", endpoint=machine.endpoint)
    suites = tuple(named(name) for name in ("pytorch", "tensorflow", "docker"))

    found = validation.validate(box, Wanted(suites=suites, quick=True))

    failed = [
        (one.suite, one.summary, one.having("FAIL"), one.output)
        for one in found.results
        if one.outcome != "pass"
    ]
    assert failed == []
    assert (found.verdict, found.evidence) == ("passed", "cpu")
