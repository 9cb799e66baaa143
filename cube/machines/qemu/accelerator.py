"""What runs guest code here, found by trying.

A /dev/kvm that opens may still run no guest, or run it a hundred times slower than QEMU's own
translation does.
"""

import functools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from cube.runtime import log, run
from cube.runtime.errors import CommandError, HostError

Accelerator = Literal["kvm", "hvf", "tcg"]

EMULATOR = "qemu-system-x86_64"
#: A processor starts 16 bytes below the end of the firmware, in real mode.
#: Source: Intel SDM vol. 3, 10.1.4.
FIRMWARE_BYTES = 65_536
RESET_VECTOR = FIRMWARE_BYTES - 16
#: Rounds of a loop that a real processor ends in 5 ms and QEMU's translation in 30 ms. A kvm that
#: only emulates these modes, in which every boot loader runs, needs 8 s: measured with kvm_pvm,
#: under which a boot loader read 0.25 MB/s.
ROUNDS = 5_000_000
#: mov ecx, ROUNDS; again: dec ecx; jnz again; mov al, 0x10; out 0xf4, al; hlt
PROGRAM = b"\x66\xb9" + ROUNDS.to_bytes(4, "little") + b"\x66\x49\x75\xfc\xb0\x10\xe6\xf4\xf4"
#: jmp 0xF000:0, from the reset vector to the beginning of the firmware's last 64 KiB.
JUMP = b"\xe9" + (FIRMWARE_BYTES - RESET_VECTOR - 3).to_bytes(2, "little")
#: What QEMU ends with when the guest writes 0x10. Source: hw/misc/debugexit.c: (value << 1) | 1.
PROOF = 0x21
#: Seconds for that, QEMU's own start among them.
TRIAL_S = 2.0


def render_firmware() -> bytes:
    """Build a firmware that counts, then tells QEMU that it ran."""
    image = bytearray(FIRMWARE_BYTES)
    image[: len(PROGRAM)] = PROGRAM
    image[RESET_VECTOR : RESET_VECTOR + len(JUMP)] = JUMP
    return bytes(image)


def trial_args(accelerator: Accelerator, firmware: Path) -> list[str]:
    """Build the command that runs the firmware, on the processor that a machine would get.

    With a lesser one, some hosts run this program and no operating system.
    """
    return [
        EMULATOR,
        "-accel",
        accelerator,
        "-cpu",
        "max" if accelerator == "tcg" else "host",
        "-machine",
        "pc",
        "-m",
        "16",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-bios",
        str(firmware),
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=0x04",
    ]


def works(accelerator: Accelerator) -> bool:
    """Run guest code with an accelerator; only the guest's own sign counts, in time.

    Raises:
        HostError: QEMU is not installed.
    """
    if shutil.which(EMULATOR) is None:
        raise HostError(f"{EMULATOR}: not found", hint="run 'cube doctor'")
    with tempfile.TemporaryDirectory(prefix="cube-") as folder:
        firmware = Path(folder) / "firmware.bin"
        firmware.write_bytes(render_firmware())
        try:
            run.run(trial_args(accelerator, firmware), accept=(PROOF,), timeout_s=TRIAL_S)
        except CommandError as error:
            log.debug(f"{accelerator} does not run a guest: {error.message}: {error.details}")
            return False
    return True


@functools.cache
def find() -> Accelerator:
    """Return the fastest accelerator that runs a guest; tried once in a process.

    Raises:
        HostError: QEMU is not installed.
    """
    native: Accelerator = "hvf" if sys.platform == "darwin" else "kvm"
    return native if works(native) else "tcg"
