"""A GPU as nvidia-smi describes it, and the fields that it is asked for."""

from dataclasses import dataclass, field

from guest.gpus.findings import Found
from guest.gpus.nvidia_smi import number

REQUIRED = (
    "index", "name", "uuid", "pci.bus_id", "pci.device_id", "driver_version", "memory.total",
    "temperature.gpu",
)  # fmt: skip
#: Fields that some drivers do not know. The clocks' reasons have their old name, too.
OPTIONAL = (
    "persistence_mode", "pcie.link.gen.max", "pcie.link.gen.gpumax", "pcie.link.gen.hostmax",
    "pcie.link.width.max", "ecc.errors.uncorrected.volatile.total", "utilization.gpu",
    "memory.used", "power.draw", "clocks_event_reasons.active", "clocks_throttle_reasons.active",
    "serial", "vbios_version",
)  # fmt: skip

#: What a GPU says of its own state, and where `nvidia-smi --query --xml-format` says the same.
#: Source: nvidia-smi --help-query-gpu of R580, and nvsmi_device_v12.dtd.
STATUS = {
    "gpu_recovery_action": "gpu_recovery_action",
    "reset_status.reset_required": "gpu_reset_status/reset_required",
    "reset_status.drain_and_reset_recommended": "gpu_reset_status/drain_and_reset_recommended",
    "ecc.mode.current": "ecc_mode/current_ecc",
    "ecc.mode.pending": "ecc_mode/pending_ecc",
    "retired_pages.pending": "retired_pages/pending_retirement",
    "remapped_rows.pending": "remapped_rows/remapped_row_pending",
    "remapped_rows.failure": "remapped_rows/remapped_row_failure",
    "mig.mode.current": "mig_mode/current_mig",
}

#: Above either, a GPU is in use: what a driver without any program holds is far less.
IN_USE_PERCENT, IN_USE_MIB = 5, 1024

SILENT = "the driver does not say"


@dataclass(kw_only=True)
class Gpu:
    """A GPU as nvidia-smi describes it.

    Args:
        index: nvidia-smi's.
        values: fields with their values.
        address: on the PCI bus, as sysfs writes it.
        model: its name; of a lost one what the bus says.
        found: what nvidia-smi says is wrong with it, beside its values.
    """

    index: int
    values: dict[str, str]
    address: str = ""
    model: str = ""
    found: Found | None = None
    cools: bool = False
    figures: dict[str, object] = field(default_factory=dict)

    @property
    def lost(self) -> bool:
        """Tell whether it answers with words instead of values, at exit code 0, or not at all."""
        gone = "uuid" not in self.values or any(
            "lost" in one.lower() for one in self.values.values()
        )
        return gone or (self.found is not None and self.found.finding == "lost")

    @property
    def in_use(self) -> bool:
        """Tell whether a program works on it."""
        percent, mib = self.number("utilization.gpu"), self.number("memory.used")
        return (percent or 0) > IN_USE_PERCENT or (mib or 0) > IN_USE_MIB

    @property
    def able(self) -> float | None:
        """Return the PCIe generation that the GPU itself is able of."""
        return self.number("pcie.link.gen.gpumax") or self.number("pcie.link.gen.max")

    def number(self, name: str) -> float | None:
        """Return a value; None for "[N/A]", which is not zero."""
        return number(self.values, name)
