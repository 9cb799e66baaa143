"""Waiting for a boot: patience, and what is told at its end."""

import time
from pathlib import Path

import pytest

from cube.machines import boot, ssh
from cube.runtime.errors import MachineError
from tests.unit.greeter import make_endpoint, serving


def test_wait_ends_at_once_when_the_machine_is_dead(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(MachineError, match="the machine stopped"):
        boot.wait(make_endpoint(tmp_path, 1), timeout_s=60, alive=lambda: False)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"", "timed out"),
        (b"HTTP/1.1 400\r\n", "no SSH server"),
        (b"Not allowed at this time\r\n", "sshd bars this address for a while"),
    ],
)
def test_deadline_tells_the_last_reason(tmp_path: Path, greeting: bytes, reason: str) -> None:
    with (
        serving(greeting) as port,
        pytest.raises(MachineError, match="within 2 s") as caught,
    ):
        boot.wait(make_endpoint(tmp_path, port), timeout_s=2, alive=lambda: True)
    assert reason in caught.value.message


def test_an_sshd_that_goes_down_is_not_waited_for_with_a_logins_patience(tmp_path: Path) -> None:
    """Greeted, dropped at the login, then a network that accepts for a guest that is down."""
    ssh.make_key(tmp_path / "key")
    started = time.monotonic()
    with serving(b"SSH-2.0-old\r\n", times=2) as port, pytest.raises(MachineError, match="no SSH"):
        boot.wait(make_endpoint(tmp_path, port), timeout_s=2, alive=lambda: True)
    assert time.monotonic() - started < ssh.CONNECT_S
