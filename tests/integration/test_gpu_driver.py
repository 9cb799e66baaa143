"""Layer 2 for real on Debian 13: the driver's module is built for the image's kernel.

`make test-gpu-stack` runs it. The quick suite builds a smaller module, a stand-in's, through the
same DKMS: see test_gpu_archive.py.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.disks import qcow2
from cube.machines import Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run, pytest_run
from cube.provision.pyinfra_run import Applied
from cube.provision.pytest_run import CheckRun
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import ProvisionError
from tests.integration.conftest import Built

pytestmark = pytest.mark.gpu_stack

#: The distribution's driver 550 can drive it, and its CUDA 12.4 can compile for it.
STACK = """\
[layers]
layer2 = {roles}

[gpu]
mode = "assume"
model = "rtx-4090"
memory_mib = 24000

[stack]
profile = "specification"
source = "distribution"
"""
DRIVER, CUDA = '["nvidia_driver"]', '["nvidia_driver", "cuda"]'
INSTALL = "nvidia_driver: Install the driver of branch 550 for every kernel"


@dataclass(frozen=True)
class Box:
    """A machine with layer 2 on it."""

    machine: Machine
    spec: Spec
    first: Applied
    again: Applied
    seconds: float

    def sh(self, command: str, *, accept: tuple[int, ...] = (0,)) -> str:
        """Run a command as root; return all that it prints."""
        argv = f"sudo sh -c {ssh.quote(command)} 2>&1"
        return ssh.execute(self.machine.endpoint, argv, accept=accept, timeout_s=900).stdout

    def check(self, results: Path) -> CheckReport:
        """Judge it by the checks of the layer."""
        return pytest_run.run_checks(
            CheckRun(
                target=self.machine.endpoint,
                select=["checks/layer2"],
                spec_file=self.spec.file,
                results_dir=results,
                name="layer2",
            )
        )


@contextlib.contextmanager
def applied(built: Built, key_file: Path, folder: Path, roles: str) -> Iterator[Box]:
    """Boot a machine with layer 1, apply layer 2 twice, restart."""
    file = folder / "cube.toml"
    file.write_text(STACK.format(roles=roles))
    loaded = config.load(file)
    overlay = folder / "overlay.qcow2"
    qcow2.create_overlay(overlay, built.store.named("layer1").disk)
    request = MachineRequest(
        name=folder.name[:20].replace("_", "-"),
        disk=overlay,
        run_dir=folder / "run",
        key_file=key_file,
    )
    with Containers().start(request) as machine:
        started = time.monotonic()
        first = pyinfra_run.apply(2, machine, spec=loaded)
        seconds = time.monotonic() - started
        again = pyinfra_run.prove_idempotent(2, machine, spec=loaded)
        asked = ssh.execute(machine.endpoint, "cat /run/reboot-required.pkgs").stdout
        assert "libcuda1" in asked.split()
        machine.reboot()
        yield Box(machine, loaded, first, again, seconds)


@pytest.fixture(scope="module")
def box(built: Built, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with applied(built, key_file, tmp_path_factory.mktemp("driver"), DRIVER) as box:
        yield box


def test_the_second_application_changes_nothing(box: Box) -> None:
    assert box.again.operations == box.first.operations
    assert box.again.changed == ()


def test_nothing_changes_after_the_restart(box: Box) -> None:
    assert pyinfra_run.prove_idempotent(2, box.machine, spec=box.spec).changed == ()


def test_the_machine_without_a_gpu_runs_without_a_failed_unit(box: Box) -> None:
    assert box.sh("systemctl is-system-running --wait").strip() == "running"


def test_the_checks_pass(box: Box, tmp_path: Path) -> None:
    report = box.check(tmp_path)
    assert len(report.having("passed")) > 10
    assert "driver answers" in {check.title for check in report.having("deferred")}


def test_the_key_that_signed_the_modules_is_in_no_image(box: Box) -> None:
    assert "mok.pub" in box.sh("ls /var/lib/dkms")
    assert "mok.key" not in box.sh("ls /var/lib/dkms")


#: A newer nvidia-smi, which would not fit the module any more.
NEWER = """
set -e
mkdir -p /srv/newer/tree/DEBIAN && cd /srv/newer
printf '%s\\n' 'Package: nvidia-smi' 'Version: 999.1' 'Architecture: amd64' \
  'Maintainer: A test <test@example>' 'Description: newer' > tree/DEBIAN/control
dpkg-deb --build tree nvidia-smi.deb && dpkg-scanpackages . > Packages
echo 'deb [trusted=yes] file:/srv/newer ./' > /etc/apt/sources.list.d/newer.list
apt-get update
"""


def test_an_upgrade_of_a_held_package_is_refused(box: Box) -> None:
    box.sh(NEWER)
    try:
        assert "999.1" in box.sh("apt-cache policy nvidia-smi")
        said = box.sh("apt-get --yes --simulate full-upgrade")
        refused = box.sh("apt-get --yes --simulate remove libcuda1", accept=(100,))
    finally:
        box.sh("rm -r /etc/apt/sources.list.d/newer.list /srv/newer; apt-get update")
    assert "Inst nvidia-smi" not in said
    assert "kept back:\n  nvidia-smi" in said
    assert "Held packages were changed" in refused


def test_a_kernel_without_headers_is_named(box: Box) -> None:
    box.sh("mkdir /lib/modules/6.1.0-999-amd64; touch /lib/modules/6.1.0-999-amd64/modules.builtin")
    try:
        with pytest.raises(ProvisionError) as caught:
            pyinfra_run.apply(2, box.machine, spec=box.spec)
    finally:
        box.sh("rm -r /lib/modules/6.1.0-999-amd64")
    assert caught.value.message == f"layer 2: {INSTALL}: failed"
    assert "kernel 6.1.0-999-amd64 of /lib/modules gets no NVIDIA module" in caught.value.details
    assert "linux-headers-6.1.0-999-amd64" in caught.value.details


#: As a kernel does it that the driver's sources do not fit.
BREAK = """
set -e
cd /usr/src/linux-headers-*-common/include/linux
echo '#error planted by a test' >> poll.h
apt-get --yes --allow-change-held-packages remove nvidia-kernel-dkms
"""


def test_a_failure_of_dkms_is_told_in_the_compilers_words(box: Box) -> None:
    box.sh(BREAK)  # nothing mends it: this test is the last one
    with pytest.raises(ProvisionError) as caught:
        pyinfra_run.apply(2, box.machine, spec=box.spec)
    assert caught.value.message == f"layer 2: {INSTALL}: failed"
    assert "make.log" in caught.value.details
    assert "error: #error planted by a test" in caught.value.details


def test_the_whole_layer_with_cuda(
    built: Built, key_file: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with applied(built, key_file, tmp_path, CUDA) as box:
        assert box.again.changed == ()
        report = box.check(tmp_path / "results")
        assert len(report.having("passed")) > 20
        record_property("apply_s", round(box.seconds))
        record_property("disk", box.sh("df --output=used --block-size=1M / | tail -n 1").strip())
        record_property("downloads", box.sh("du -sm /var/cache/apt/archives").split()[0])
