"""What layer 2 does about Secure Boot: no key in an image, and one for each machine."""

from pathlib import Path

import pytest

from cube.provision import pyinfra_run
from deploy.operations.driver import SIGNING_KEYS as FORGOTTEN
from deploy.roles.nvidia_driver import ENROLMENT, SECURE_BOOT, SIGNING_KEYS
from deploy.runner.sources import template_text

GOLDEN = Path(__file__).parents[2] / "golden"
START = f"systemctl start {ENROLMENT}"


def applied(folder: Path, os_name: str, *data: str) -> dict[str, list[str]]:
    """Return the commands of each operation of layer 2 on a bare host."""
    argv = ["--limit", f"@fake/{os_name}", "--data", "gpu_mode=assume"]
    for item in data:
        argv += ["--data", item]
    code, journal = pyinfra_run.run_pyinfra(
        [*argv, "deploy/runner/offline.py", "deploy/layer2.py"],
        {"CUBE_SPEC": str(GOLDEN / "cube.toml")},
        folder,
        timeout_s=60,
        told=False,
    )
    assert code == 0, journal.tail()
    return {event["name"]: event["commands"] for event in journal.of("end")}


def test_live_box_asks_at_once_and_keeps_its_key(tmp_path: Path) -> None:
    told = applied(tmp_path, "debian-13", 'driver_source="nvidia"', "building=false")
    assert any(START in command for commands in told.values() for command in commands)
    assert not any("Forget the key" in name for name in told)


def test_image_waits_for_its_first_boot(tmp_path: Path) -> None:
    told = applied(tmp_path, "debian-13", 'driver_source="nvidia"')
    assert not any(START in command for commands in told.values() for command in commands)
    assert "Forget the key that signed the modules" in told


def test_modules_that_the_distribution_signed_need_no_key(tmp_path: Path) -> None:
    told = applied(tmp_path, "ubuntu-24.04", 'driver_source="distribution"', "building=false")
    assert not any("cube-secure-boot" in line for commands in told.values() for line in commands)
    assert "There is nothing to do." in "".join(told["Say what Secure Boot asks for"])


def test_every_private_key_is_forgotten() -> None:
    assert {own.key for own in SIGNING_KEYS.values()} == set(FORGOTTEN)


@pytest.mark.parametrize("os_name", SIGNING_KEYS)
def test_the_steps_name_what_the_system_has(os_name: str) -> None:
    own = SIGNING_KEYS[os_name]
    text = template_text(
        "nvidia_driver/secure-boot.txt.j2",
        signed=False,
        key=own.key,
        certificate=own.certificate,
        generate=" ".join(own.generate),
    )
    program = SECURE_BOOT.text()
    for word in (own.key, own.certificate, " ".join(own.generate), "/var/lib/cube/mok-password"):
        assert word in text
    assert 'PASSWORD = ROOT / "var/lib/cube/mok-password"' in program
