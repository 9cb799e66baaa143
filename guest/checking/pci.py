"""The display controllers on the PCI bus, as sysfs shows them: no driver is needed."""

from collections.abc import Iterator
from pathlib import Path

from guest.checking.state import read_text

#: Source: the PCI ID registry: vendor 10de is NVIDIA, class 03 a display controller.
NVIDIA, DISPLAY = "0x10de", "0x03"


def displays(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each display controller below a root, in the order of addresses, and its vendor."""
    for device in sorted(root.glob("sys/bus/pci/devices/*")):
        if read_text(device / "class").startswith(DISPLAY):
            yield device, read_text(device / "vendor")


def nvidia_gpus(root: Path) -> list[Path]:
    """Return NVIDIA's display controllers; a folder's name is its address, "0000:c1:00.0"."""
    return [device for device, vendor in displays(root) if vendor == NVIDIA]
