"""The checks of validate-gpus.sh that look at the machine as a whole, without load."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from guest.checking.state import read_text
from guest.gpus.device import Gpu
from guest.gpus.machine import Bus, Machine, ask
from guest.gpus.report import Report

MODULES = ("nvidia", "nvidia-current", "nvidia-current-open")
#: Packages of the driver's library: Debian's name, NVIDIA's and Ubuntu's with or without branch.
LIBRARY_PACKAGES = ("libnvidia-ml1", "libnvidia-compute*")

#: Words that make another model of the one whose name they follow.
OTHER_MODELS = {"d", "laptop", "max", "mobile", "super", "ti"}

#: Xid lines of the driver, and what it says of a GPU that is gone. Source: NVIDIA, "XID Errors".
XID = re.compile(r"NVRM: Xid \([^)]*\)\D*(\d+)")
GONE = "fallen off the bus"

Advice = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """What /etc/cube/expectations.json says; no model is expected where it names none."""

    count: int
    memory_mib: int
    model: str


def read_expectations(machine: Machine) -> Expectations:
    """Read what this machine is expected to carry.

    Raises:
        ValueError: the file is missing or damaged.
    """
    file = machine.state / "etc/cube/expectations.json"
    try:
        told = json.loads(file.read_text())
        count, memory = int(told["gpu_count"]), int(told["gpu_memory_mib"])
        model = str(told.get("gpu_model", ""))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file} is missing or damaged: apply layer 5 again") from error
    return Expectations(count=count, memory_mib=memory, model=model)


# --- counts and models --------------------------------------------------------------------


def check_bus(report: Report, bus: Bus, *, expected: int) -> None:
    """As many GPUs as expected sit on the PCI bus and answer."""
    told = (
        str(len(bus.gpus)) if len(bus.gpus) == expected else f"{len(bus.gpus)}, expected {expected}"
    )
    if bus.silent:
        told += f"; {', '.join(bus.silent)} does not answer: restart the machine"
    good = len(bus.gpus) == expected and not bus.silent
    report.record(
        "GPUs on the PCI bus",
        good=good,
        detail=told,
        value=len(bus.gpus),
        limit=expected,
        unit="GPUs",
    )


def check_seen(report: Report, seen: int, *, expected: int) -> None:
    """As many GPUs as expected answer to the driver."""
    good = seen == expected
    report.record(
        "GPUs that the driver sees",
        good=good,
        value=seen,
        limit=expected,
        unit="GPUs",
        detail=str(seen) if good else f"{seen}, expected {expected}",
    )


def check_models(report: Report, gpus: list[Gpu], *, expected: str) -> None:
    """All GPUs are of one model, the one that is expected."""
    found = Counter(gpu.values["name"] for gpu in gpus)
    kinds = ", ".join(f"{count} x {name}" for name, count in sorted(found.items()))
    report.record("GPU models are equal", good=len(found) == 1, detail=kinds)
    if not expected:
        report.skip("GPU model", "no model is expected")
        return
    good = all(is_model(name, expected) for name in found)
    told = f"{expected}" if good else f"{kinds}; expected {expected}"
    report.record("GPU model", good=good, detail=told)


def is_model(name: str, model: str) -> bool:
    """Tell whether nvidia-smi's name of a GPU is that of a model.

    Args:
        name: "NVIDIA GeForce RTX 5090", "Tesla V100-SXM2-16GB".
        model: as cube.toml has it, "rtx-5090".
    """
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    words = [word for word in words if word not in {"nvidia", "geforce", "tesla"}]
    wanted = model.lower().split("-")
    rest = words[len(wanted) :]
    return words[: len(wanted)] == wanted and not (rest and rest[0] in OTHER_MODELS)


# --- versions -----------------------------------------------------------------------------


def check_versions(report: Report, machine: Machine, *, answered: str) -> None:
    """The driver that runs, its library and its packages are of one version.

    Args:
        report: where the verdict goes.
        machine: the machine.
        answered: the version that nvidia-smi told, or "".
    """
    told = {"nvidia-smi": answered, **dict(read_versions(machine))}
    found = {what: version for what, version in told.items() if version}
    report.versions.update({f"driver_{re.sub('[ -]', '_', what)}": v for what, v in found.items()})
    name, kinds = "driver versions agree", set(found.values())
    pairs = ", ".join(f"{what} {version}" for what, version in found.items())
    if len(kinds) > 1:
        advice = f"{pairs}: restart the machine; if they still differ, apply layer 2 again"
        report.record(name, good=False, detail=advice)
    elif "kernel" not in found or len(found) == 1:
        report.skip(name, f"nothing to compare: {pairs or 'no driver is loaded'}")
    else:
        report.record(name, good=True, detail=f"{kinds.pop()}: {', '.join(found)}")


def read_versions(machine: Machine) -> Iterator[tuple[str, str]]:
    """Yield the versions of the module that runs, the one on disk, the library, its package."""
    text = read_text(machine.hardware / "proc/driver/nvidia/version")
    running = re.search(r"Kernel Module(?: +for \S+)? +(\d+[\d.]+)", text)
    yield "kernel", running[1] if running else ""
    for module in MODULES:
        answer = ask(machine, "modinfo", "--field", "version", module)
        if answer.code == 0:
            yield "module on disk", answer.text.strip()
            break
    for library in machine.hardware.glob("usr/lib/*/libnvidia-ml.so.1"):
        if found := re.fullmatch(r"libnvidia-ml\.so\.(\d+\.[\d.]+)", library.resolve().name):
            yield "library", found[1]
    form = "${db:Status-Status} ${Version}\n"
    answer = ask(machine, "dpkg-query", "--show", f"--showformat={form}", *LIBRARY_PACKAGES)
    for line in answer.text.splitlines():
        if found := re.match(r"installed (?:\d+:)?(\d+\.[\d.]*\d)", line):
            yield "package", found[1]


# --- containers and P2P -------------------------------------------------------------------


def check_container_runtime(report: Report, machine: Machine) -> None:
    """Docker knows the GPU runtime, where layer 3 says that it was installed."""
    name = "container runtime"
    if not claims_runtime(machine):
        report.skip(name, "layer 3 with the role gpu_runtime is not recorded on this box")
        return
    answer = ask(machine, "docker", "info", "--format", "{{json .Runtimes}}")
    if "permission denied" in answer.text + answer.complaint:
        report.skip(name, "Docker does not answer to this user, root can ask")
        return
    good = answer.code == 0 and '"nvidia"' in answer.text
    advice = "no runtime nvidia: nvidia-ctk runtime configure --runtime=docker"
    told = "nvidia" if good else answer.explain() if answer.code else advice
    report.record(name, good=good, detail=told)


def claims_runtime(machine: Machine) -> bool:
    """Tell whether the record of layers has the GPU runtime."""
    try:
        record = json.loads((machine.state / "var/lib/cube/layers.json").read_text())
        return "gpu_runtime" in record["layers"]["3"]["roles"]
    except (OSError, ValueError, TypeError, KeyError):
        return False


def check_p2p(report: Report, machine: Machine, *, gpus: int) -> None:
    """All pairs are alike: GeForce has no P2P, but a pair that differs has a cause.

    Source: the legend that nvidia-smi 550.163.01 prints (GNS: GPU not supported).
    """
    name = "P2P between GPUs"
    if gpus < 2:  # noqa: PLR2004 (a pair)
        report.skip(name, "there is one GPU")
        return
    answer = ask(machine, "nvidia-smi", "topo", "-p2p", "r")
    states = read_p2p(answer.text) if answer.code == 0 else []
    report.figures["p2p"] = sorted(set(states))
    if not states:
        report.skip(name, f"nvidia-smi does not say: {answer.explain()}")
    elif len(set(states)) > 1:
        kinds = ", ".join(f"{count} x {word}" for word, count in Counter(states).items())
        report.record(name, good=False, detail=f"differs between pairs: {kinds}: look at the slots")
    elif states[0] == "OK":
        report.record(name, good=True, detail="supported between all pairs")
    else:
        report.skip(name, f"not supported between any pair ({states[0]}); GeForce never has it")


def read_p2p(text: str) -> list[str]:
    """Return the state of each pair from the matrix, "OK", "GNS"; colours are passed over."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).split() for line in text.splitlines()]
    rows = [words for words in lines if words and re.fullmatch(r"GPU\d+", words[0])]
    states = [word for words in rows for word in words[1:] if not word.startswith("GPU")]
    return [word for word in states if word != "X"]


# --- the kernel's log ---------------------------------------------------------------------


def check_kernel_log(report: Report, machine: Machine) -> None:
    """The driver reported no fault since the boot; any Xid fails, its class says what to do."""
    answer = ask(machine, "journalctl", "--dmesg", "--boot", "--output=cat", "--no-pager")
    if answer.code != 0 or not answer.text.strip():
        report.skip("kernel log", "cannot be read, root can")
        return
    lines = [line for line in answer.text.splitlines() if "NVRM: Xid" in line or GONE in line]
    faults = Counter(classify(line) for line in lines)
    report.figures["kernel_faults"] = [
        {"fault": fault, "advice": advice, "count": count, "line": one_of(lines, fault)}
        for (fault, advice), count in faults.items()
    ]
    told = "; ".join(f"{count} x {fault}: {advice}" for (fault, advice), count in faults.items())
    late = "" if "Linux version" in answer.text else " (the log begins later)"
    good = not faults
    report.record(
        "kernel log",
        good=good,
        value=len(lines),
        limit=0,
        unit="faults",
        detail=f"no GPU fault since the boot{late}" if good else f"{told}: {lines[-1]}",
    )


def one_of(lines: list[str], fault: str) -> str:
    """Return the last line of a fault."""
    return next(line for line in reversed(lines) if classify(line)[0] == fault)[:500]


#: Advice by Xid. Source: NVIDIA, "XID Errors", its table of actions; facts of the open modules.
CLASSES: Mapping[str, frozenset[int]] = {
    "restart the machine": frozenset({79}),
    "check the power cables": frozenset({54}),
    "reset the GPU, memory errors (ECC)": frozenset({48}),
    "reset the GPU": frozenset({46, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158}),
    "look at the application": frozenset({13, 31, 94}),
    "nothing by itself, watch whether it comes again": frozenset({43, 63, 92}),
}
UNKNOWN_XID = "not known here: look it up in NVIDIA's XID Errors"


def classify(line: str) -> Advice:
    """Return what a line of the kernel's log reports, and what to do about it."""
    found = XID.search(line)
    if found is None:
        return (f"GPU {GONE}" if GONE in line else "Xid of an unknown form", "restart the machine")
    xid = int(found[1])
    advice = next((text for text, xids in CLASSES.items() if xid in xids), UNKNOWN_XID)
    return (f"Xid {xid}", advice)
