from pathlib import Path

import pytest

from cube.machines import MachineRequest, choose
from cube.machines.choose import Wanted
from cube.machines.qemu import accelerator
from cube.runtime.errors import HostError, MachineError


@pytest.mark.parametrize(
    ("wanted", "found", "obstacle", "reason"),
    [
        ("auto", "kvm", "", "a virtual machine: kvm runs guests here"),
        ("auto", "hvf", "needs Linux", "a virtual machine: hvf runs guests here"),
        ("auto", "tcg", "", "a container: no hardware virtualisation"),
        ("auto", "tcg", "needs root", "a virtual machine: with tcg, which is slow: needs root"),
        ("vm", "tcg", "", "a virtual machine: asked for, with tcg"),
        ("container", "kvm", "", "a container: asked for"),
    ],
)
def test_fastest_machine_that_works_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Wanted,
    found: str,
    obstacle: str,
    reason: str,
) -> None:
    monkeypatch.setattr(accelerator, "find", lambda: found)
    monkeypatch.setattr(choose, "container_obstacle", lambda: obstacle)
    choice = choose.choose(wanted)
    assert choice.reason.startswith(reason)
    assert (choice.kind == "vm") == reason.startswith("a virtual machine")


def test_container_that_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "container_obstacle", lambda: "a container needs root (sudo)")
    with pytest.raises(HostError, match="a container needs root"):
        choose.choose("container")


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sys.platform", "linux")
    assert "systemd-nspawn, slirp4netns, qemu-storage-daemon" in choose.container_obstacle()


def test_machine_that_would_die_with_us_cannot_be_left_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(accelerator, "find", lambda: "tcg")
    request = MachineRequest(name="up", disk=tmp_path / "d", run_dir=tmp_path, key_file=tmp_path)
    with pytest.raises(MachineError, match="only a detached machine"):
        choose.up(request, choose.choose("vm"))
