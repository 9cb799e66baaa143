"""What this machine carries, as the kernel tells it."""

from pathlib import Path

#: Source: PCI ID repository, vendor 10de; PCI Code and ID Assignment, base class 03 (display).
NVIDIA = "0x10de"
DISPLAY = "0x03"


def nvidia_gpus(devices: Path = Path("/sys/bus/pci/devices")) -> list[str]:
    """Return the PCI ids of NVIDIA's display devices, "10de:2b85", sorted."""
    found = []
    for device in sorted(devices.glob("*")):
        vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text()
        if vendor == NVIDIA and kind.startswith(DISPLAY):
            found.append(f"{vendor}:{(device / 'device').read_text().strip()}".replace("0x", ""))
    return sorted(found)
