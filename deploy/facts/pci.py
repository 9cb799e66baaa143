"""What sits on the PCI bus, from sysfs: no tool is needed and no driver."""

from pyinfra.api import FactBase

#: Source: PCI SIG vendor id of NVIDIA; class 0x03xxxx is a display controller (pci.ids).
NVIDIA, DISPLAY = "0x10de", "0x03"


class NvidiaGpus(FactBase[list[str]]):
    """The PCI addresses of NVIDIA GPUs; consumer and data-centre cards alike."""

    def command(self) -> str:
        """Print ``address vendor class`` for every device."""
        return (
            "for d in /sys/bus/pci/devices/*; do"
            ' test -r "$d/class" && echo "${d##*/} $(cat "$d/vendor" "$d/class" | tr "\\n" " ")";'
            " done; true"
        )

    @staticmethod
    def default() -> list[str]:
        """Return no device: a machine may have no PCI bus."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Keep the GPUs."""
        devices = [line.split() for line in output]
        return [
            address
            for address, vendor, kind in devices
            if vendor == NVIDIA and kind.startswith(DISPLAY)
        ]
