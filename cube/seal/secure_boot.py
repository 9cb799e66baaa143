"""Secure Boot as the boot test sees it: what a clone says of it, and what that proves."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from cube.machines import Firmware
from cube.runtime import log
from cube.runtime.errors import ProofError

#: BIOS, and UEFI firmware without Secure Boot, do not support it.
State = Literal["enabled", "disabled", "unsupported"]

#: Prints the answer on one line, also where mokutil fails.
ASK = "mokutil --sb-state 2>&1 | paste -sd ' '"

#: Why a proof does not include Secure Boot.
NO_FIRMWARE = "this machine has no UEFI firmware with Microsoft's keys for QEMU"


@dataclass(frozen=True, kw_only=True)
class SecureBootProof:
    """Whether a clone booted with Secure Boot on; `reason` says why none did."""

    proven: bool
    reason: str = ""


def parse(said: str) -> State:
    """Read the answer to `ASK`.

    A second line follows "SecureBoot enabled" where shim was told not to validate, or where the
    firmware takes any key: then nothing is enforced. Source: mokutil(1), --sb-state.
    """
    if said == "SecureBoot enabled":
        return "enabled"
    return "disabled" if said.startswith("SecureBoot ") else "unsupported"


def expect(name: str, firmware: Firmware, said: str) -> State:
    """Return the state of Secure Boot in a clone.

    Args:
        name: of the clone.
        firmware: how it was booted.
        said: its answer to `ASK`.

    Raises:
        ProofError: the firmware enforces Secure Boot, and the clone says otherwise.
    """
    state = parse(said)
    if firmware == "secure-boot" and state != "enabled":
        raise ProofError(
            f"{name}: booted by firmware with Secure Boot, but mokutil says: {said or 'nothing'}",
            hint="check that the image has mokutil and that shim validates: mokutil --sb-state",
        )
    return state


def conclude(states: Collection[State]) -> SecureBootProof:
    """Return what the clones prove together; a warning tells when it is nothing."""
    if "enabled" in states:
        return SecureBootProof(proven=True)
    log.warning(f"Secure Boot is not proven: {NO_FIRMWARE}")
    return SecureBootProof(proven=False, reason=NO_FIRMWARE)
