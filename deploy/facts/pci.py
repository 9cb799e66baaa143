"""What sits on the PCI bus, from sysfs: no tool is needed and no driver."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase

#: Source: PCI SIG vendor id of NVIDIA; class 0x03xxxx is a display controller (pci.ids).
NVIDIA, DISPLAY = "0x10de", "0x03"
#: What the configuration space of a device reads as that does not answer any more; the kernel
#: goes on to list it. Source: PCI Local Bus Specification 3.0, 6.1: a master abort reads as ones.
NO_ANSWER = "ffff"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU: its address, its id ("10de:2b85"), and whether it answers."""

    address: str
    id: str
    answers: bool = True


class NvidiaGpus(FactBase[list[Gpu]]):
    """NVIDIA's GPUs by their addresses; consumer and data-centre cards alike."""

    def command(self, sysfs: str = "/sys") -> str:
        """Print ``address vendor device class`` and the first word of the configuration space."""
        return (
            f"for d in {quote(sysfs)}/bus/pci/devices/*; do"
            ' test -r "$d/class" && echo "${d##*/}"'
            ' $(cat "$d/vendor" "$d/device" "$d/class")'
            ' $(od -An -tx2 -N2 "$d/config" 2>/dev/null);'
            " done; true"
        )

    @staticmethod
    def default() -> list[Gpu]:
        """Return no device: a machine may have no PCI bus."""
        return []

    def process(self, output: list[str]) -> list[Gpu]:
        """Keep the GPUs."""
        devices = [line.split() for line in output]
        return [
            Gpu(
                address=address,
                id=f"{vendor}:{device}".replace("0x", ""),
                answers=NO_ANSWER not in config,
            )
            for address, vendor, device, kind, *config in devices
            if vendor == NVIDIA and kind.startswith(DISPLAY)
        ]


def described(gpus: Sequence[Gpu], *, expected: int) -> str:
    """Say in one line what was found: how many of which, and what is wrong with that."""
    ids = Counter(gpu.id for gpu in gpus)
    kinds = ", ".join(f"{count} x {name}" for name, count in sorted(ids.items()))
    count = "1 NVIDIA GPU" if len(gpus) == 1 else f"{len(gpus)} NVIDIA GPUs"
    lost = [gpu.address for gpu in gpus if not gpu.answers]
    parts = [
        f"{count} on the PCI bus ({kinds})",
        f"{expected} expected" if len(gpus) != expected else "",
        f"{' and '.join(lost)} fell off the bus: restart the machine" if lost else "",
    ]
    return ", ".join(filter(None, parts))
