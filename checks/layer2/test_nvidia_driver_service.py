"""The driver in use: the persistence daemon, Secure Boot, and an answer of every GPU."""

import pytest
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from cube.config import Spec
from cube.stack.profile import Profile

DAEMON = "nvidia-persistenced.service"
#: What nvidia-smi is asked of every GPU.
FIELDS = ("index", "pci.bus_id", "name", "driver_version", "persistence_mode")
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


@pytest.fixture(scope="module")
def answer(host: Host) -> CommandResult:
    """What nvidia-smi says of every GPU, with warnings beside it.

    It may list all of them and end with the code of one: 14 for a corrupted infoROM.
    """
    return host.run("nvidia-smi --query-gpu=%s --format=csv,noheader", ",".join(FIELDS))


@pytest.fixture(scope="module")
def gpus(answer: CommandResult) -> list[dict[str, str]]:
    """The values of every GPU that nvidia-smi lists."""
    rows = [line.split(", ") for line in answer.stdout.splitlines()]
    return [dict(zip(FIELDS, row, strict=True)) for row in rows if len(row) == len(FIELDS)]


@pytest.mark.needs("gpu")
def test_driver_answers_without_a_warning(answer: CommandResult) -> None:
    assert answer.rc == 0, answer.stdout + answer.stderr


@pytest.mark.needs("gpu")
def test_driver_that_answers_is_of_the_branch(gpus: list[dict[str, str]], stack: Profile) -> None:
    assert gpus
    assert [one for one in gpus if one["driver_version"].split(".")[0] != stack.branch] == []


@pytest.mark.needs("gpu")
def test_driver_has_every_gpu(gpus: list[dict[str, str]], spec: Spec) -> None:
    assert len(gpus) == spec.gpu.count, gpus


@pytest.mark.needs("gpu")
def test_gpus_stay_initialised(gpus: list[dict[str, str]]) -> None:
    assert gpus
    assert [one for one in gpus if one["persistence_mode"] != "Enabled"] == []
