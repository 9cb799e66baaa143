"""What a clone says of Secure Boot, and what that proves."""

import subprocess
from pathlib import Path

import pytest

from cube.machines import Firmware
from cube.runtime.errors import ProofError
from cube.seal import secure_boot

#: What mokutil 0.6 and 0.7 print, both lines on one; and what a shell prints without it.
SAID = {
    "SecureBoot enabled": "enabled",
    "SecureBoot disabled": "disabled",
    "SecureBoot disabled Platform is in Setup Mode": "disabled",
    "SecureBoot enabled SecureBoot validation is disabled in shim": "disabled",
    "EFI variables are not supported on this system": "unsupported",
    "This system doesn't support Secure Boot": "unsupported",
    "sh: 1: mokutil: not found": "unsupported",
    "": "unsupported",
}


@pytest.mark.parametrize("said", SAID)
def test_answer_is_read(said: str) -> None:
    assert secure_boot.parse(said) == SAID[said]


@pytest.mark.parametrize("said", [said for said, state in SAID.items() if state != "enabled"])
def test_clone_that_enforces_nothing_is_refused(said: str) -> None:
    with pytest.raises(ProofError, match="cube-proof-2: booted by firmware with Secure Boot"):
        secure_boot.expect("cube-proof-2", "secure-boot", said)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("said", SAID)
def test_other_firmware_promises_nothing(firmware: Firmware, said: str) -> None:
    assert secure_boot.expect("cube-proof-1", firmware, said) == SAID[said]


def test_one_clone_proves_it() -> None:
    proof = secure_boot.conclude(["unsupported", "enabled"])
    assert (proof.proven, proof.reason) == (True, "")


@pytest.mark.parametrize("state", ["unsupported", "disabled"])
def test_no_clone_proves_nothing_and_the_reason_is_told(state: secure_boot.State) -> None:
    proof = secure_boot.conclude(["unsupported", state])
    assert (proof.proven, proof.reason) == (False, secure_boot.NO_FIRMWARE)


def test_question_is_answered_on_one_line(tmp_path: Path) -> None:
    fake = tmp_path / "mokutil"
    fake.write_text("#!/bin/sh\necho SecureBoot disabled; echo Platform is in Setup Mode; exit 1\n")
    fake.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", secure_boot.ASK],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "SecureBoot disabled Platform is in Setup Mode\n"
