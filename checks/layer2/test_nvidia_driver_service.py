"""The driver in use: the persistence daemon, Secure Boot, and an answer of every GPU."""

import pytest
from testinfra.host import Host

from cube.config import Spec
from cube.stack.profile import Profile

DAEMON = "nvidia-persistenced.service"
#: "static": the rules of udev start it when the driver takes a GPU.
STARTED = {"enabled", "static"}


def test_persistence_daemon_starts_at_boot(host: Host) -> None:
    assert host.run("systemctl is-enabled %s", DAEMON).stdout.strip() in STARTED


def test_persistence_daemon_is_not_told_to_do_nothing(host: Host) -> None:
    start = host.check_output("systemctl show --property=ExecStart %s", DAEMON)
    assert "--no-persistence-mode" not in start


def test_persistence_daemon_has_not_failed(host: Host) -> None:
    state = host.check_output("systemctl show --property=ActiveState --value %s", DAEMON)
    assert state != "failed"


def test_secure_boot_is_explained(host: Host) -> None:
    assert "Secure Boot" in host.file("/etc/cube/secure-boot.txt").content_string


def test_key_for_modules_of_dkms_is_asked_for_at_boot(host: Host, packages: dict[str, str]) -> None:
    # Modules that the distribution has signed need none.
    state = host.run("systemctl is-enabled cube-secure-boot.service").stdout.strip()
    assert (state == "enabled") == ("dkms" in packages)


@pytest.mark.needs("gpu")
def test_secure_boot_lets_the_driver_in(host: Host, packages: dict[str, str]) -> None:
    if "dkms" in packages:
        done = host.run("cube-secure-boot --status")
        assert done.rc == 0, done.stdout + done.stderr


@pytest.mark.needs("gpu")
def test_driver_answers(host: Host) -> None:
    assert host.run("nvidia-smi --query-gpu=driver_version --format=csv,noheader").rc == 0


@pytest.mark.needs("gpu")
def test_driver_that_answers_is_of_the_branch(host: Host, stack: Profile) -> None:
    said = host.check_output("nvidia-smi --query-gpu=driver_version --format=csv,noheader")
    assert {line.split(".")[0] for line in said.splitlines()} == {stack.branch}


@pytest.mark.needs("gpu")
def test_driver_has_every_gpu(host: Host, spec: Spec) -> None:
    assert len(host.check_output("nvidia-smi --list-gpus").splitlines()) == spec.gpu.count


@pytest.mark.needs("gpu")
def test_gpus_stay_initialised(host: Host) -> None:
    said = host.check_output("nvidia-smi --query-gpu=persistence_mode --format=csv,noheader")
    assert set(said.split()) == {"Enabled"}
