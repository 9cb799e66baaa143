"""Tests of cube.seal.reboot_test, with a machine that only says that it restarts."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from cube.runtime.errors import MachineError, ProofError
from cube.seal import reboot_test
from cube.seal.reboot_test import SecondBoot
from tests.unit.seal.test_boot_test import SEEN


@dataclass
class Restarting:
    name: str = "cube-proof-2"
    error: MachineError | None = None
    restarts: int = 0

    def reboot(self) -> None:
        self.restarts += 1
        if self.error:
            raise self.error


def booting(machine: Any) -> SecondBoot:
    return SecondBoot(machine, SEEN)


def test_it_is_restarted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reboot_test, "look", lambda _: SEEN)
    machine = Restarting()
    again = booting(machine)

    again.begin()
    again.begin()

    assert again.finish() >= 0
    assert machine.restarts == 1


def test_a_clone_that_does_not_come_back_is_refused() -> None:
    machine = Restarting(error=MachineError("no SSH after 900 s", details="Kernel panic"))

    with pytest.raises(ProofError, match="cube-proof-2 does not boot a second time") as caught:
        booting(machine).finish()

    assert caught.value.details == "Kernel panic"


def test_a_clone_that_comes_back_as_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reboot_test, "look", lambda _: replace(SEEN, machine_id="f" * 32))

    with pytest.raises(ProofError, match="changed machine_id"):
        booting(Restarting()).finish()
