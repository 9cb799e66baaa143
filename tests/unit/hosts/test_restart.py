"""Whether a box waits for a restart, by what it answers."""

from unittest.mock import Mock

import pytest

from cube.hosts import remote, restart
from cube.machines import boot

OLD, NEW = "6.12.9+deb13-amd64", "6.12.10+deb13-amd64"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ""),
        (f"running {OLD}\nkernel {OLD}\n", ""),
        (f"running {NEW}\nkernel {OLD}\nkernel {NEW}\n", ""),
        (f"running {OLD}\nkernel {OLD}\nkernel {NEW}\n", f"kernel {NEW} is installed, {OLD} runs"),
        (f"running {OLD}\nkernel {OLD}\nkernel 6.12.10+deb13-cloud-amd64\n", ""),
        ("running 6.8.0-49-generic\n", ""),
        ("asked linux-image-amd64 libc6\n", "asked for by linux-image-amd64 libc6"),
        ("asked \n", "asked for by a package"),
        (
            f"asked dbus\nrunning {OLD}\nkernel {NEW}\n",
            f"asked for by dbus; kernel {NEW} is installed, {OLD} runs",
        ),
    ],
)
def test_a_restart_is_needed_for_a_reason(text: str, reason: str) -> None:
    assert restart.parse(text) == reason


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        (OLD, "amd64"),
        ("6.12.10+deb13-cloud-amd64", "cloud-amd64"),
        ("6.8.0-49-generic", "generic"),
        ("6.8.0", ""),
    ],
)
def test_a_kernel_has_a_flavour(kernel: str, kind: str) -> None:
    assert restart.flavour(kernel) == kind


def test_a_restart_waits_for_the_units(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(remote, "reboot", lambda *_, **__: asked.append("reboot"))
    monkeypatch.setattr(remote, "execute", lambda _, script, **__: asked.append(script))
    restart.restart(Mock())
    assert asked == ["reboot", boot.SETTLE]
