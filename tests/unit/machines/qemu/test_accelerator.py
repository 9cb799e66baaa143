import shutil
from pathlib import Path

import pytest

from cube.machines.qemu import accelerator
from cube.runtime.errors import HostError

qemu = pytest.mark.skipif(
    shutil.which(accelerator.EMULATOR) is None, reason=f"needs {accelerator.EMULATOR}"
)


def test_firmware_begins_where_a_processor_does() -> None:
    image = accelerator.render_firmware()
    assert len(image) == 65536
    jump = int.from_bytes(image[0xFFF1:0xFFF3], "little")
    assert image[0xFFF0] == 0xE9
    assert (0xFFF3 + jump) % 0x10000 == 0
    assert image.startswith(accelerator.PROGRAM)


@pytest.mark.parametrize(("kind", "processor"), [("kvm", "host"), ("hvf", "host"), ("tcg", "max")])
def test_trial_has_the_processor_of_a_machine(
    kind: accelerator.Accelerator, processor: str
) -> None:
    argv = accelerator.trial_args(kind, Path("/firmware.bin"))
    assert argv[argv.index("-accel") + 1] == kind
    assert argv[argv.index("-cpu") + 1] == processor


@qemu
def test_translation_always_runs_a_guest() -> None:
    assert accelerator.works("tcg")


@qemu
def test_a_guest_that_runs_too_slowly_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = accelerator.PROGRAM.replace(
        accelerator.ROUNDS.to_bytes(4, "little"), (2**32 - 1).to_bytes(4, "little")
    )
    monkeypatch.setattr(accelerator, "PROGRAM", slow)
    monkeypatch.setattr(accelerator, "TRIAL_S", 1.0)
    assert not accelerator.works("tcg")


@qemu
def test_guest_that_gives_no_sign_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "PROGRAM", b"\xf4")  # hlt
    monkeypatch.setattr(accelerator, "TRIAL_S", 1.0)
    assert not accelerator.works("tcg")


def test_missing_qemu_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="qemu-system-x86_64: not found"):
        accelerator.works("kvm")
