"""NVIDIA's repository, by a signed archive of stand-ins with the same names: simulated evidence.

The module is a real one that DKMS builds for the image's kernel; it does nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube import config
from cube.config import Spec
from cube.disks import qcow2
from cube.machines import Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run, pytest_run
from cube.provision.pytest_run import CheckRun
from cube.runtime.errors import ProvisionError

SCRIPT = Path(__file__).parent / "standin_driver.sh"
STACK = """\
[gpu]
mode = "assume"

[stack]
profile = "cube"
source = "nvidia"
nvidia_url = "http://127.0.0.1:8099"
nvidia_fingerprint = "{fingerprint}"
"""
ARCHIVE = "/srv/standin/debian13/x86_64"


@dataclass(frozen=True)
class Box:
    """A machine with layer 1, and the archive on it."""

    machine: Machine
    folder: Path
    fingerprint: str

    def sh(self, command: str, *, accept: tuple[int, ...] = (0,)) -> str:
        """Run a command as root; return all that it prints."""
        argv = f"sudo sh -c {ssh.quote(command)} 2>&1"
        return ssh.execute(self.machine.endpoint, argv, accept=accept).stdout

    def wanted(self, fingerprint: str = "") -> Spec:
        """Return a specification that takes the driver from the archive."""
        file = self.folder / "cube.toml"
        file.write_text(STACK.format(fingerprint=fingerprint or self.fingerprint))
        return config.load(file)

    def fail(self, wanted: Spec) -> ProvisionError:
        """Apply the layer, which must fail."""
        with pytest.raises(ProvisionError) as caught:
            pyinfra_run.apply(2, self.machine, spec=wanted)
        return caught.value


@pytest.fixture(scope="module")
def box(
    layer1_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("archive")
    overlay = folder / "overlay.qcow2"
    qcow2.create_overlay(overlay, layer1_disk)
    request = MachineRequest(
        name="archive", disk=overlay, run_dir=folder / "run", key_file=key_file
    )
    with Containers().start(request) as machine:
        made = ssh.execute(machine.endpoint, "sudo bash -s", stdin=SCRIPT.read_text())
        yield Box(machine, folder, made.stdout.split()[-1])


def test_a_key_of_somebody_else_is_refused(box: Box) -> None:
    error = box.fail(box.wanted("0" * 40))
    assert (
        error.message
        == "layer 2: nvidia_driver: Have NVIDIA's package archive, signed by the known key: failed"
    )
    assert f"fingerprint {box.fingerprint}, expected {'0' * 40}" in error.details
    assert box.sh("ls /etc/apt/keyrings").strip() == ""


def test_a_key_that_is_not_there_is_refused(box: Box) -> None:
    box.sh(f"mv {ARCHIVE}/8793F200.pub /root")
    error = box.fail(box.wanted())
    box.sh(f"mv /root/8793F200.pub {ARCHIVE}")
    assert "404" in error.details


def test_a_package_that_was_changed_is_refused(box: Box) -> None:
    package = f"{ARCHIVE}/nvidia-driver-pinning-580_580-1_amd64.deb"
    box.sh(f"cp {package} /root/kept && printf x | dd of={package} bs=1 seek=200 conv=notrunc")
    error = box.fail(box.wanted())
    box.sh(f"mv /root/kept {package}")
    assert error.message == "layer 2: nvidia_driver: Pin the driver to branch 580: failed"
    assert "Hash Sum mismatch" in error.details


def test_the_branch_that_was_pinned_is_installed_and_stays(box: Box) -> None:
    wanted = box.wanted()
    first = pyinfra_run.apply(2, box.machine, spec=wanted)
    changed = [name.split(": ")[1] for name in first.changed]
    pinned, installed = "Pin the driver to branch 580", "Install the driver of branch 580"
    assert changed.index(pinned) < changed.index(f"{installed} for every kernel")
    assert pyinfra_run.prove_idempotent(2, box.machine, spec=wanted).changed == ()
    assert "590.44.01" in box.sh("apt-cache policy libcuda1")
    assert box.sh("dpkg-query -W -f '${Version}' libcuda1") == "580.95.05-1"
    assert "Inst libcuda1" not in box.sh("apt-get --simulate full-upgrade")


def test_the_daemon_is_told_to_do_its_work_and_skipped_without_a_gpu(box: Box) -> None:
    start = box.sh(
        "systemctl daemon-reload; systemctl start nvidia-persistenced;"
        " systemctl show -p ExecStart nvidia-persistenced"
    )
    assert "--user nvpd --verbose" in start
    assert box.sh("systemctl is-active nvidia-persistenced", accept=(3,)).strip() == "inactive"


def test_the_checks_of_the_driver_pass(box: Box, tmp_path: Path) -> None:
    report = pytest_run.run_checks(
        CheckRun(
            target=box.machine.endpoint,
            select=sorted(map(str, Path("checks/layer2").glob("test_nvidia_driver_*.py"))),
            spec_file=box.wanted().file,
            results_dir=tmp_path,
            name="archive",
        )
    )
    assert len(report.having("passed")) > 20


def test_a_failure_of_dkms_is_told_in_the_compilers_words(box: Box) -> None:
    box.sh(
        "cd /usr/src/linux-headers-*-common/include/linux"
        " && echo '#error planted by a test' >> module.h"
        " && apt-get --yes --allow-change-held-packages remove nvidia-kernel-open-dkms"
        " && rm -r /var/lib/dkms/nvidia"
    )
    error = box.fail(box.wanted())
    assert "nvidia_driver: Install the driver" in error.message
    assert "error: #error planted by a test" in error.details
