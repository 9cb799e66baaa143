"""What can be wrong with a simulated box, and which checks must find it: data only.

`fails` are the checks that fail without load, `fails_loaded` those that fail under load beside
them; every other check of the suite passes or is skipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Values = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, in the last GPU where it is a GPU's; without any change it is the healthy box."""

    name: str
    fails: tuple[str, ...] = ()
    fails_loaded: tuple[str, ...] = ()
    says: str = ""  # words of a failed check's detail
    outcome: str = ""  # empty: by what fails
    gpu: Values = field(default_factory=dict)  # nvidia-smi's fields of the last GPU
    busy: Values = field(default_factory=dict)  # ... under load
    every: Values = field(default_factory=dict)  # ... of every GPU
    unknown: tuple[str, ...] = ()  # fields that the driver refuses
    unseen: int = 0  # GPUs that the driver does not see
    smi: Mapping[str, object] = field(default_factory=dict)  # what a query of all GPUs adds
    alone: Mapping[str, object] = field(default_factory=dict)  # ... one of the last GPU alone
    details: str = ""  # of the last GPU in nvidia-smi's XML
    processes: int | None = 0  # on every GPU; None: the driver does not tell
    replays: tuple[int, int] = (0, 0)
    bandwidth: tuple[float, float] = (56.3, 57.3)
    kernel_log: tuple[str, ...] = ()
    programs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    machine: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)


SLOT = "sys/devices/pci0000:00/0000:00:04.1"
CARD = f"{SLOT}/0000:c1:00.0"
OLD = "550.163.01"
NEWER = "580.105.08"
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    " Make sure that the latest NVIDIA driver is installed and running.\n"
)
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
NEW_FIELDS = (
    "pcie.link.gen.gpucurrent", "pcie.link.gen.gpumax", "pcie.link.gen.hostmax",
    "clocks_event_reasons.active",
)  # fmt: skip
OPTIONAL = (
    "memory.used", "utilization.gpu", "power.draw", "persistence_mode", "pcie.link.gen.current",
    "pcie.link.gen.gpucurrent", "pcie.link.gen.max", "pcie.link.gen.gpumax",
    "pcie.link.gen.hostmax", "pcie.link.width.current", "pcie.link.width.max", *REASONS,
)  # fmt: skip


def every_gpu(what: str) -> tuple[str, ...]:
    """Name a check of each of the four GPUs."""
    return tuple(f"GPU {index} {what}" for index in range(4))


def xid(number: int, says: str) -> Fault:
    """Return a box whose driver reported an Xid."""
    line = f"NVRM: Xid (PCI:0000:c1:00): {number}, pid=988, name=python3, Ch 00000008"
    return Fault(
        name=f"xid_{number}",
        fails=("kernel log",),
        kernel_log=(line,),
        says=f"1 x Xid {number} of 0000:c1:00.0 NVIDIA GeForce RTX 5090: {says}",
    )


HEALTHY = (
    Fault(name="healthy"),
    Fault(
        name="in_use", processes=1,
        every={"utilization.gpu": "98", "memory.used": "30211", "temperature.gpu": "78",
               "clocks_event_reasons.active": "0x0000000000000004"},
    ),
    Fault(name="old_fields", unknown=NEW_FIELDS),
    Fault(name="nothing_told", every=dict.fromkeys(OPTIONAL, "[N/A]")),
    Fault(name="p2p", machine={"p2p": [["X" if r == c else "OK" for c in range(4)]
                                       for r in range(4)]}),
    Fault(name="no_pytorch", files={"opt": None}),
    Fault(name="no_layer3", files={"var": None}, machine={"runtimes": ["runc"]}),
    Fault(name="no_aer", files={f"{place}/aer_dev_{kind}": None for place in (SLOT, CARD)
                                for kind in ("fatal", "nonfatal", "correctable")}),
    Fault(name="few_replays", replays=(3, 0)),
    Fault(
        name="virtual_machine", files={"proc/cpuinfo": "flags\t\t: fpu avx512f hypervisor\n"},
        every={"pcie.link.gen.max": "4", "pcie.link.gen.hostmax": "4"},
    ),
    Fault(
        name="another_vendor", outcome="not_run",
        files={"sys": None, "sys/bus/pci/devices/0000:03:00.0/vendor": "0x1002\n",
               "sys/bus/pci/devices/0000:03:00.0/class": "0x030000\n"},
    ),
    Fault(name="no_display", outcome="not_run", files={"sys": None}),
)  # fmt: skip

MACHINE = (
    Fault(name="missing", unseen=1, files={"sys/bus/pci/devices/0000:c1:00.0": None},
          fails=("GPUs on the PCI bus", "GPUs that the driver sees"),
          fails_loaded=(), says="3, expected 4"),
    Fault(name="three", unseen=1, fails=("GPUs that the driver sees",),
          says="3, expected 4; 0000:c1:00.0 NVIDIA GeForce RTX 5090: the driver does not see"),
    Fault(name="silent_on_bus", files={f"{CARD}/config": b"\xff" * 64},
          fails=("GPUs on the PCI bus",),
          says="0000:c1:00.0 NVIDIA GeForce RTX 5090: it does not answer"),
    Fault(name="no_driver", programs={"nvidia-smi": {"code": 9, "text": NO_DRIVER}},
          fails=("driver answers",), says="the NVIDIA driver is not loaded (exit code 9)"),
    Fault(name="no_library", programs={"nvidia-smi": {"code": 12, "text": "couldn't find\n"}},
          fails=("driver answers",), says="libnvidia-ml is missing (exit code 12)"),
    Fault(name="cable", programs={"nvidia-smi": {"code": 8, "text": "power\n"}},
          fails=("driver answers",), says="power cable is not attached (exit code 8): switch"),
    Fault(name="refuses_all", programs={"nvidia-smi": {"code": 2, "text": "Field \"x\" is not\n"}},
          fails=("driver answers",), says="exit code 2: Field"),
    Fault(name="no_gpu_told", programs={"nvidia-smi": {"text": "No devices were found\n"}},
          fails=("driver answers", "GPUs that the driver sees"), says="No devices were found"),
    Fault(name="mismatch", machine={"library": NEWER, "package": NEWER, "module_on_disk": NEWER},
          programs={"nvidia-smi": {"code": 18, "text": "Failed to initialize NVML: Driver/library"
                                                       " version mismatch\n"}},
          fails=("driver answers", "driver versions agree"), says="restart the machine"),
    Fault(name="upgraded", machine={"package": NEWER}, fails=("driver versions agree",),
          says=f"package {NEWER}"),
    Fault(name="other_module", machine={"module_on_disk": NEWER},
          fails=("driver versions agree",), says=f"module on disk {NEWER}"),
    Fault(name="odd_model", gpu={"name": "NVIDIA GeForce RTX 5090 D"},
          fails=("GPU models are equal", "GPU model"),
          says="1 x NVIDIA GeForce RTX 5090 D (0000:c1:00.0): put in GPUs of one model"),
    Fault(name="other_model",
          every={"name": "NVIDIA GeForce RTX 4090", "pci.device_id": "0x268410DE"},
          fails=("GPU model",), says="expected rtx-5090"),
    Fault(name="no_runtime", machine={"runtimes": ["runc"]}, fails=("container runtime",),
          says="nvidia-ctk runtime configure"),
    Fault(name="no_docker", programs={"docker": {"code": 1, "text": "Cannot connect\n"}},
          fails=("container runtime",), says="Cannot connect"),
    Fault(name="odd_p2p", fails=("P2P between GPUs",), says="2 x TNS",
          machine={"p2p": [["X" if r == c else "TNS" if {r, c} == {0, 3} else "OK"
                            for c in range(4)] for r in range(4)]}),
    xid(79, "restart the machine"), xid(54, "check the power cables"),
    xid(48, "reset the GPU, memory errors (ECC)"), xid(119, "reset the GPU"),
    xid(13, "look at the application"), xid(43, "nothing by itself"),
    xid(999, "not known here"),
    Fault(name="off_the_bus", fails=("kernel log",), says="restart the machine",
          kernel_log=("NVRM: GPU at PCI:0000:c1:00: GPU-5090 has fallen off the bus.",)),
)  # fmt: skip

ONE_GPU = (
    Fault(name="lost", gpu=dict.fromkeys(
              ("name", "uuid", "driver_version", "memory.total", "temperature.gpu", *OPTIONAL),
              "[GPU is lost]"),
          fails=("GPU 3",), says="lost: the driver cannot reach it: restart the machine"),
    Fault(name="small", gpu={"memory.total": "24564"}, fails=("GPU 3 memory",),
          says="24564 MiB, expected 32000"),
    Fault(name="no_memory_told", gpu={"memory.total": "[N/A]"}, fails=("GPU 3 memory",),
          says="[N/A] MiB"),
    Fault(name="hot", gpu={"temperature.gpu": "72"}, fails=("GPU 3 temperature",),
          says="72 C, idle, limit 60 C"),
    Fault(name="hot_in_use", processes=1, gpu={"temperature.gpu": "91", "utilization.gpu": "97"},
          fails=("GPU 3 temperature",), says="91 C, in use, limit 85 C"),
    Fault(name="no_temperature", gpu={"temperature.gpu": "[N/A]"}, fails=("GPU 3 temperature",),
          says="cannot be read: [N/A]"),
    Fault(name="old_driver", every={"driver_version": OLD}, fails=every_gpu("driver"),
          machine={"running": OLD, "library": OLD, "package": OLD, "module_on_disk": OLD},
          says="this GPU needs 570.86.16"),
    Fault(name="no_persistence", gpu={"persistence_mode": "Disabled"},
          fails=("GPU 3 persistence",), says="nvidia-persistenced"),
    Fault(name="x8", gpu={"pcie.link.width.max": "8", "pcie.link.width.current": "8"},
          bandwidth=(28.1, 28.4), fails=("GPU 3 link",), says="x8, expected x16",
          fails_loaded=("GPU 3 link under load", "GPU 3 bandwidth")),
    Fault(name="gen4", gpu={"pcie.link.gen.max": "4", "pcie.link.gen.hostmax": "4"},
          busy={"pcie.link.gen.gpucurrent": "4", "pcie.link.gen.current": "4"},
          bandwidth=(26.3, 26.9), fails=("GPU 3 link",), says="the GPU is able of 5",
          fails_loaded=("GPU 3 link under load", "GPU 3 bandwidth")),
    Fault(name="memory_errors", gpu={"ecc.errors.uncorrected.volatile.total": "3"},
          fails=("GPU 3 memory errors",), says="3 uncorrected"),
    Fault(name="throttled", gpu=dict.fromkeys(REASONS, "0x0000000000000048"),
          fails=("GPU 3 throttling",), says="hardware slowdown, hardware thermal slowdown"),
    Fault(name="replays", replays=(81, 0), fails=("GPU 3 PCIe replays",), says="limit 80"),
    Fault(name="rollovers", replays=(0, 1), fails=("GPU 3 PCIe replays",), says="1 rollovers"),
    Fault(name="bus_errors", fails=("GPU 3 PCIe errors",), says="2 fatal",
          files={f"{CARD}/aer_dev_fatal": "DLP 2\nTOTAL_ERR_FATAL 2\n"}),
    Fault(name="slot_errors", fails=("GPU 3 PCIe errors",), says="1 nonfatal",
          files={f"{SLOT}/aer_dev_nonfatal": "TLP 1\nTOTAL_ERR_NONFATAL 1\n"}),
)  # fmt: skip

INFOROM = "WARNING: infoROM is corrupted at gpu 0000:C1:00.0\n"
UNREACHABLE = "Unable to determine the device handle for GPU"
LOST_WORDS = "GPU is lost.  Reboot the system to recover this GPU"
GEFORCE = "0000:c1:00.0 NVIDIA GeForce RTX 5090: "
#: What a driver of before R565 does not know.
STATUS = (
    "gpu_recovery_action", "reset_status.reset_required",
    "reset_status.drain_and_reset_recommended", "remapped_rows.pending", "remapped_rows.failure",
)  # fmt: skip
#: A workstation's card that has ECC and MIG.
PRO = {
    "ecc.mode.current": "Enabled", "ecc.mode.pending": "Enabled", "mig.mode.current": "Disabled",
    "retired_pages.pending": "[N/A]", "remapped_rows.pending": "No", "remapped_rows.failure": "No",
    "ecc.errors.uncorrected.volatile.total": "0",
}  # fmt: skip


def recovery(action: str, says: str) -> Fault:
    """Return a box whose driver asks for an action."""
    return Fault(
        name=f"recovery_{action.lower().replace(' ', '_')}",
        gpu={"gpu_recovery_action": action},
        fails=("GPU 3 recovery",),
        says=f"{GEFORCE}{says}",
    )


#: What a GPU that works may have, by what the driver says of it.
STATE = (
    Fault(name="pro_cards", every=PRO),
    recovery("Reset", "the driver asks for a reset: stop what uses it, then sudo nvidia-smi"),
    recovery("Reboot", "the driver asks for a restart of the machine: restart the machine"),
    recovery("Drain P2P", "the driver asks to end its P2P traffic"),
    recovery("Drain and Reset", "the driver asks to drain and reset it"),
    recovery("Pray", "the driver asks for an action that is not known here (Pray)"),
    Fault(name="reset_required", unknown=("gpu_recovery_action",),
          gpu={"reset_status.reset_required": "Yes"}, fails=("GPU 3 recovery",),
          says="--gpu-reset -i 0000:c1:00.0"),
    Fault(name="drain_recommended", unknown=("gpu_recovery_action",),
          gpu={"reset_status.drain_and_reset_recommended": "Yes"}, fails=("GPU 3 recovery",),
          says=f"{GEFORCE}the driver asks to drain and reset it"),
    Fault(name="old_status", unknown=STATUS),
    Fault(name="reset_in_the_details", unknown=STATUS, fails=("GPU 3 recovery",),
          details="<gpu_recovery_action>Reset</gpu_recovery_action>",
          says=f"{GEFORCE}the driver asks for a reset"),
    Fault(name="rows_in_the_details", unknown=STATUS, fails=("GPU 3 memory repairs",),
          details="<remapped_rows><remapped_row_pending>Yes</remapped_row_pending></remapped_rows>",
          says=f"{GEFORCE}memory rows wait to be remapped"),
    Fault(name="rows_pending", every=PRO, gpu={"remapped_rows.pending": "Yes"},
          fails=("GPU 3 memory repairs",), says=f"{GEFORCE}memory rows wait to be remapped"),
    Fault(name="rows_counted", every=PRO, gpu={"remapped_rows.pending": "1"},
          fails=("GPU 3 memory repairs",), says="memory rows wait to be remapped"),
    Fault(name="rows_failed", every=PRO,
          gpu={"remapped_rows.pending": "Yes", "remapped_rows.failure": "Yes"},
          fails=("GPU 3 memory repairs",), says="could not be remapped: have the card replaced"),
    Fault(name="pages_pending", gpu={"retired_pages.pending": "Yes"},
          fails=("GPU 3 memory repairs",), says=f"{GEFORCE}memory pages wait to be retired"),
    Fault(name="ecc_pending", every=PRO, gpu={"ecc.mode.pending": "Disabled"},
          fails=("GPU 3 ECC mode",), says="ECC is enabled, and disabled after the next restart"),
    Fault(name="mig_on", every=PRO, gpu={"mig.mode.current": "Enabled"}, fails=("GPU 3 MIG",),
          says=f"{GEFORCE}MIG is on: programs see parts of the GPU: sudo nvidia-smi -i 0000:c1"),
    Fault(name="busy_alone", gpu={"utilization.gpu": "93"}, fails=("GPU 3 processes",),
          says=f"{GEFORCE}93 % busy, 2 MiB in use, and no process uses it"),
    Fault(name="held_alone", gpu={"memory.used": "20111"}, fails=("GPU 3 processes",),
          says="20111 MiB in use, and no process uses it: sudo fuser -v /dev/nvidia*"),
    Fault(name="processes_not_told", gpu={"utilization.gpu": "93"}, processes=None,
          programs={}, fails=("GPU 3 processes",), says="93 % busy"),
    Fault(name="infoROM", smi={"code": 14, "text": INFOROM}, fails=("GPU 3 infoROM",),
          says=f"{GEFORCE}its infoROM is corrupted: if it stays after a restart"),
    Fault(name="infoROM_on_stderr", smi={"code": 14, "complaint": INFOROM},
          fails=("GPU 3 infoROM",), says=f"{GEFORCE}its infoROM is corrupted"),
    Fault(name="infoROM_first", smi={"code": 14, "before": INFOROM},
          fails=("GPU 3 infoROM",), says=f"{GEFORCE}its infoROM is corrupted"),
    Fault(name="infoROM_unnamed", smi={"code": 14}, alone={"code": 14},
          fails=("GPU 3 infoROM",), says=f"{GEFORCE}its infoROM is corrupted"),
    Fault(name="infoROM_of_nobody", smi={"code": 14}, fails=("driver answers",),
          says="its infoROM is corrupted"),
    Fault(name="reset_and_infoROM", smi={"code": 14, "text": INFOROM},
          gpu={"gpu_recovery_action": "Reset"}, fails=("GPU 3 infoROM", "GPU 3 recovery"),
          says="the driver asks for a reset"),
)  # fmt: skip

#: A GPU that nvidia-smi cannot read beside three that it can.
BESIDE = (
    Fault(name="one_ends_all", fails=("GPU 3", "GPUs that the driver sees"),
          smi={"code": 15, "lists_none": True,
               "text": f"{UNREACHABLE} 0000:C1:00.0: {LOST_WORDS}\n"},
          alone={"code": 15, "lists_none": True,
                 "text": f"{UNREACHABLE} 0000:C1:00.0: {LOST_WORDS}\n"},
          says=f"{GEFORCE}lost: the driver cannot reach it: restart the machine"),
    Fault(name="one_unknown_error", fails=("GPU 3", "GPUs that the driver sees"),
          smi={"hides": [3], "before": f"{UNREACHABLE}3: 0000:C1:00.0: Unknown Error\n"},
          says=f"{GEFORCE}lost: the driver cannot reach it: restart the machine"),
    Fault(name="one_by_its_number", fails=("GPU 3", "GPUs that the driver sees"),
          smi={"hides": [3], "code": 255, "complaint": f"{UNREACHABLE}3: Unknown Error\n"},
          alone={"code": 255, "lists_none": True}, says=f"{GEFORCE}lost"),
    Fault(name="cable_of_one", fails=("GPU 3", "GPUs that the driver sees"),
          smi={"code": 8, "lists_none": True}, alone={"code": 8, "lists_none": True},
          says=f"{GEFORCE}a power cable is not attached: switch off"),
    Fault(name="lost_whole", gpu=dict.fromkeys(
              ("name", "uuid", "pci.bus_id", "driver_version", "memory.total",
               "temperature.gpu", *OPTIONAL), "[GPU is lost]"),
          fails=("GPU 3",), says=f"{GEFORCE}lost"),
)  # fmt: skip

UNDER_LOAD = (
    Fault(name="load_dies", fails_loaded=("load",), says="the load ended by itself",
          programs={"pytorch while busy": {"code": 3}}),
    Fault(name="out_of_memory", fails_loaded=("load",), says="CUDA out of memory",
          programs={"pytorch": {"code": 1, "text":
              '{"event": "error", "detail": "CUDA out of memory. Tried to allocate 512 MiB."}\n'}}),
    Fault(name="broken_pytorch", fails_loaded=("load",), says="the load ended by itself",
          programs={"pytorch": {"code": 139}}),
    Fault(name="cpu_pytorch", fails_loaded=("load",), says="PyTorch sees 2 GPUs, nvidia-smi 4",
          programs={"pytorch": {"text": '{"event": "start", "torch": "2.13.0", "gpus": 2}\n'}}),
    Fault(name="silent_in_load", fails_loaded=("load",), says="exit code 15",
          programs={"nvidia-smi": {"code": 15, "text": "GPU is lost\n", "only_busy": True}}),
    Fault(name="lazy", busy={"utilization.gpu": "4"}, fails_loaded=("GPU 3 load",),
          says="busy 4 % (median)"),
    Fault(name="lost_in_load", fails_loaded=("GPU 3 load",), says="lost under load",
          busy=dict.fromkeys((*OPTIONAL, "temperature.gpu"), "[GPU is lost]")),
    Fault(name="drops_to_gen4", busy={"pcie.link.gen.gpucurrent": "4"},
          fails_loaded=("GPU 3 link under load",), says="generation 4 x16, expected generation 5"),
    Fault(name="narrow_in_load", busy={"pcie.link.width.current": "8"},
          fails_loaded=("GPU 3 link under load",), says="generation 5 x8"),
    Fault(name="hot_in_load", busy={"temperature.gpu": "88"},
          fails_loaded=("GPU 3 temperature under load",), says="88 C"),
    Fault(name="power_brake", busy=dict.fromkeys(REASONS, "0x0000000000000080"),
          fails_loaded=("GPU 3 throttling under load",), says="power brake"),
    Fault(name="slow_copies", bandwidth=(56.1, 41.7), fails_loaded=("GPU 3 bandwidth",),
          says="41.7 GB/s from it, limit 50"),
)  # fmt: skip

FAULTS = {one.name: one for one in (*HEALTHY, *MACHINE, *ONE_GPU, *STATE, *BESIDE, *UNDER_LOAD)}
