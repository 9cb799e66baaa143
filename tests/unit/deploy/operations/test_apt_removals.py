"""No plan of apt removes what nobody named, unless cube.toml allows it: real apt-get."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.facts import apt as facts
from deploy.facts.kernels import Kernels
from deploy.operations import apt, containers, driver
from deploy.runner import allowed
from tests.unit.deploy.apt_box import AptBox

#: Named after what they stand for: fields of version 2, by package.
ARCHIVE = {
    "docker.io": "Conflicts: docker-ce\n",
    "nano": "",
    "bash": "Conflicts: chrony\n",
    "nvidia-smi": "Conflicts: nouveau-firmware\n",
}
UPGRADES = ["bash"]
INSTALLED = ("bash", "chrony", "docker-ce", "nouveau-firmware")


def answer(fact: object, **_: object) -> object:
    answers: Mapping[object, object] = {
        facts.Installed: set(INSTALLED),
        facts.PackageLists: facts.Lists(age_s=0, usable=True),
        facts.Upgradable: [f"Inst {name} [1] (2 . [all])" for name in UPGRADES],
        Kernels: [],
    }
    return answers[fact]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AptBox:
    made = AptBox.make(tmp_path, INSTALLED)
    made.offer(ARCHIVE)
    allow(monkeypatch)
    return made


def allow(monkeypatch: pytest.MonkeyPatch, *harms: str) -> None:
    """Let the host of the operations allow these."""
    host = SimpleNamespace(get_fact=answer, noop=lambda _: None, data={"allow": harms})
    for module in (apt, driver, allowed):
        monkeypatch.setattr(module, "host", host)


def script(what: str) -> str:
    """Return the commands of an operation."""
    match what:
        case "install":
            commands = apt.install._inner(["docker.io"])
        case "full-upgrade":
            commands = apt.full_upgrade._inner()
        case _:
            commands = driver.install._inner(["nvidia-smi"])
    return "\n".join(commands)


GOES = [
    ("install", "docker-ce"),
    ("full-upgrade", "chrony"),
    ("driver", "nouveau-firmware"),
]


@pytest.mark.parametrize(("what", "gone"), GOES)
def test_a_plan_that_removes_is_refused_and_names_package_and_option(
    box: AptBox, what: str, gone: str
) -> None:
    done = box.sh(script(what))
    assert done.returncode != 0
    assert f"apt would remove {gone}, which nobody named" in done.stderr
    assert '[apply] allow = ["remove-packages"]' in done.stderr
    assert box.did == ""


@pytest.mark.parametrize(("what", "gone"), GOES)
def test_a_plan_that_removes_is_carried_out_where_that_is_allowed(
    box: AptBox, what: str, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, "remove-packages")
    done = box.sh(script(what))
    assert done.returncode == 0, done.stderr
    assert "remove" in box.did
    assert gone in box.did


def test_a_plan_that_only_adds_is_carried_out(box: AptBox) -> None:
    done = box.sh(apt.get("install nano"))
    assert done.returncode == 0, done.stderr
    assert "nano.deb" in box.did


def test_another_failure_is_apts_own(box: AptBox) -> None:
    done = box.sh(apt.get("install nobody-has-this"))
    assert done.returncode == 100
    assert "nobody-has-this" in done.stderr
    assert "apt would remove" not in done.stderr


@pytest.mark.parametrize(
    ("upgrades", "harms", "guarded"),
    [
        (["bash"], (), False),
        (["bash", "docker-ce"], (), True),
        (["docker.io"], ("remove-packages",), True),
        (["docker.io"], ("stop-containers",), False),
        (["docker-ce-cli", "containerd.io"], (), False),
    ],
)
def test_an_upgrade_that_restarts_docker_spares_containers(
    monkeypatch: pytest.MonkeyPatch, upgrades: list[str], harms: tuple[str, ...], *, guarded: bool
) -> None:
    monkeypatch.setattr(f"{__name__}.UPGRADES", upgrades)
    allow(monkeypatch, *harms)
    (command,) = apt.full_upgrade._inner()
    assert command.startswith(containers.LIVE_ON) is guarded


def test_a_guarded_upgrade_is_not_begun(box: AptBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.UPGRADES", ["docker-ce"])
    (box.root / "bin").mkdir()
    (box.root / "bin/systemctl").write_text("#!/bin/sh\n")  # docker.service runs
    (box.root / "bin/systemctl").chmod(0o755)
    docker = box.root / "bin/docker"
    docker.write_text("#!/bin/sh\necho 0123\n")  # not "true": no live-restore, and one runs
    docker.chmod(0o755)
    allow(monkeypatch, "remove-packages")
    done = box.sh(script("full-upgrade"))
    assert done.returncode != 0
    assert "would end the containers that run" in done.stderr
    assert box.did == ""
    docker.write_text("#!/bin/sh\n")
    done = box.sh(script("full-upgrade"))
    assert done.returncode == 0, done.stderr
    assert box.did != ""
