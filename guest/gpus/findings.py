"""What can be wrong with GPUs: the reason and the remedy of each finding.

This is the one table: validate-gpus.sh prints it, the health checks and `cube validate` pass on
what it prints, and docs/validate.md shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something that is wrong, and what to do about it."""

    finding: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


RESTART = "restart the machine"
RESET = "stop what uses it, then sudo nvidia-smi --gpu-reset -i {address}, or restart the machine"
SEAT = "seat the card and its riser again"
REPLACE = "if it stays after a restart, have the card replaced"
COOL = "look at fans, dust and the air in the case"

#: Reason and remedy by finding; braces are filled with what was seen.
FINDINGS: Mapping[str, tuple[str, str]] = {
    # nvidia-smi as a whole. Source: nvidia-smi(1), "RETURN VALUE".
    "driver not loaded": (
        "the NVIDIA driver is not loaded", "sudo modprobe nvidia, and see health-check-layer2.sh"),
    "library missing": ("the library libnvidia-ml is missing", "apply layer 2 again"),
    "library mismatch": (
        "the driver's library is not of the version that is loaded", RESTART),
    "no answer": ("{told}", "see journalctl -k; if the driver hangs, restart the machine"),
    "driver message": ("nvidia-smi says: {told}", "see journalctl -k"),
    # A GPU that nvidia-smi cannot read, or warns of.
    "lost": (
        "lost: the driver cannot reach it",
        "restart the machine, then look for Xid lines in the kernel log; if it is lost again,"
        " check its power cable and its slot"),
    "silent": ("nvidia-smi gives no answer about it ({told})", RESTART),
    "silent on the bus": ("it does not answer on the PCI bus", RESTART),
    "not seen": ("the driver does not see it", "see journalctl -k for NVRM lines, and restart"),
    "power cable": ("a power cable is not attached", "switch off, attach all of its power cables"),
    "interrupt": ("the kernel sees a fault of its interrupt", "restart; look at slot and BIOS"),
    "infoROM corrupt": ("its infoROM is corrupted", REPLACE),
    # What the driver asks for. Source: nvml.h, nvmlDeviceGpuRecoveryAction_t.
    "reset required": ("the driver asks for a reset", RESET),
    "reboot required": ("the driver asks for a restart of the machine", RESTART),
    "drain and reset": (
        "the driver asks to drain and reset it", "let its programs end, then sudo nvidia-smi"
        " --gpu-reset -i {address}"),
    "drain P2P": (
        "the driver asks to end its P2P traffic", "stop the programs that use several GPUs, then"
        " restart them; if it stays, reset the GPU"),
    "unknown recovery": (
        "the driver asks for an action that is not known here ({action})", "look it up in"
        " nvidia-smi(1), GPU Recovery Action"),
    # Memory. Source: NVIDIA, "GPU Memory Error Management", and "Dynamic Page Retirement".
    "memory errors": (
        "{count:g} uncorrected memory errors since the driver was loaded", RESET + "; "
        "if they come again, have the card replaced"),
    "retired pages pending": ("memory pages wait to be retired", RESET),
    "remapped rows pending": ("memory rows wait to be remapped", RESET),
    "remapping failed": ("a memory row could not be remapped", "have the card replaced"),
    "ECC pending": (
        "ECC is {current}, and {pending} after the next restart", "restart, or take it back:"
        " sudo nvidia-smi -i {address} --ecc-config={back}"),
    # How it is used.
    "MIG on": (
        "MIG is on: programs see parts of the GPU", "sudo nvidia-smi -i {address} -mig 0, then"
        " restart the machine"),
    "busy without a process": (
        "{percent:g} % busy, {mib:g} MiB in use, and no process uses it", "sudo fuser -v"
        " /dev/nvidia*; end what holds it, else reset it: sudo nvidia-smi --gpu-reset -i"
        " {address}"),
    "persistence off": ("persistence is off", "sudo systemctl enable --now nvidia-persistenced"),
    # What it is, and where it sits.
    "missing": ("{seen}, expected {expected}", "look at slots and power cables; [gpu] count"),
    "models differ": (
        "{kinds}", "put in GPUs of one model, or choose by CUDA_VISIBLE_DEVICES for each program"),
    "other model": ("{kinds}; expected {expected}", "put in that model, or correct [gpu] model"),
    "little memory": (
        "{told} MiB, expected {expected}", "look at the model; or correct [gpu] memory_mib"),
    "driver too old": ("{driver}, this GPU needs {least}", "choose a newer driver: cube stack"),
    "versions differ": ("{pairs}", f"{RESTART}; if they still differ, apply layer 2 again"),
    "no runtime": ("{told}", "sudo nvidia-ctk runtime configure --runtime=docker, restart Docker"),
    "P2P differs": ("differs between pairs: {kinds}", "look at the slots and the BIOS"),
    "narrow link": ("x{lanes:g}, expected x{expected}", f"{SEAT}, look at its slot"),
    "slow link": (
        "{told}, the GPU is able of {able:g}", "look at the slot and the BIOS"),
    "replays": ("{told}, {rollovers} rollovers", SEAT),
    "PCIe errors": ("{told} since the boot", SEAT),
    # Heat and clocks.
    "hot": ("{told}", COOL),
    "no temperature": ("the temperature cannot be read: {told}", RESTART),
    "throttled": ("{told}", f"{COOL}, and at its power cables"),
    # Under load.
    "load failed": ("{told}", "see journalctl -k, and that no other program uses the GPUs"),
    "lost under load": ("lost under load", "restart the machine; check its power cables"),
    "not busy": ("{told}", "end other programs on the machine, and measure again"),
    "slow link under load": ("{told}, expected generation {able:g} x{lanes}", SEAT),
    "slow copies": ("{told}, limit {least:g}", f"{SEAT}, look at the BIOS (PCIe generation)"),
    "not measured": ("was not measured: the load passed this GPU over", "measure again"),
    # The kernel log. Source: NVIDIA, "XID Errors", its table of actions.
    "Xid: restart": ("{fault}", RESTART),
    "Xid: power": ("{fault}", "check the power cables"),
    "Xid: ECC": ("{fault}", "reset the GPU, memory errors (ECC)"),
    "Xid: reset": ("{fault}", "reset the GPU"),
    "Xid: application": ("{fault}", "look at the application"),
    "Xid: watch": ("{fault}", "nothing by itself, watch whether it comes again"),
    "Xid: unknown": ("{fault}", "not known here: look it up in NVIDIA's XID Errors"),
}  # fmt: skip

#: Findings by nvidia-smi's exit code; 18 is NVML's NVML_ERROR_LIB_RM_VERSION_MISMATCH.
BY_EXIT_CODE = {
    8: "power cable",
    9: "driver not loaded",
    10: "interrupt",
    12: "library missing",
    14: "infoROM corrupt",
    15: "lost",
    18: "library mismatch",
}

#: Findings by `gpu_recovery_action`. Source: nvidia-smi of R565 and later.
BY_RECOVERY_ACTION = {
    "reset": "reset required",
    "gpu reset": "reset required",
    "reboot": "reboot required",
    "node reboot": "reboot required",
    "drain p2p": "drain P2P",
    "drain and reset": "drain and reset",
}

#: Findings by Xid.
BY_XID: Mapping[int, str] = {
    79: "Xid: restart",
    54: "Xid: power",
    48: "Xid: ECC",
    **dict.fromkeys(
        (46, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158), "Xid: reset"
    ),
    **dict.fromkeys((13, 31, 94), "Xid: application"),
    **dict.fromkeys((43, 63, 92), "Xid: watch"),
}


def find(finding: str, **seen: object) -> Found:
    """Return a finding of the table, with what was seen."""
    reason, remedy = FINDINGS[finding]
    return Found(
        finding=finding,
        reason=reason.format(**seen),
        remedy=remedy.format(**{"address": "", **seen}),
    )
