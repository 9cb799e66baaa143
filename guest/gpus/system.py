"""The checks of validate-gpus.sh that look at the machine as a whole, without load."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from guest.checking.state import read_text
from guest.gpus.device import Gpu
from guest.gpus.findings import BY_XID, Found, find
from guest.gpus.inventory import Inventory
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
#: The GPU in either: "(PCI:0000:c1:00)", "GPU at PCI:0000:c1:00", "GPU 0000:c1:00.0".
PLACE = re.compile(r"\b([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2})\b", re.IGNORECASE)


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


def check_bus(report: Report, bus: Bus, models: Mapping[str, str], *, expected: int) -> None:
    """As many GPUs as expected sit on the PCI bus and answer.

    Args:
        report: where the verdict goes.
        bus: what sits on it.
        models: names of the GPUs by address.
        expected: how many there should be.
    """
    seen, found = len(bus.gpus), None
    if seen != expected:
        found = find("missing", seen=seen, expected=expected)
    if bus.silent:
        found = find("silent on the bus")
        who = ", ".join(f"{one} {models.get(one, '')}".strip() for one in bus.silent)
        count = f"{seen}, expected {expected}; " if seen != expected else ""
        found = replace(found, reason=f"{count}{who}: {found.reason}")
    name = "GPUs on the PCI bus"
    report.settle(name, found, detail=str(seen), value=seen, limit=expected, unit="GPUs")


def check_seen(report: Report, inventory: Inventory, *, expected: int) -> None:
    """As many GPUs as expected answer to the driver."""
    gpus, models = inventory.listed, inventory.models
    seen, found = len(gpus), None
    unseen = [one for one in inventory.bus.gpus if one not in {gpu.address for gpu in gpus}]
    if seen != expected:
        found = find("missing", seen=seen, expected=expected)
    if seen != expected and unseen:
        who = ", ".join(f"{one} {models.get(one, '')}".strip() for one in unseen)
        told = find("not seen")
        found = replace(told, reason=f"{found.reason if found else seen}; {who}: {told.reason}")
    name = "GPUs that the driver sees"
    report.settle(name, found, detail=str(seen), value=seen, limit=expected, unit="GPUs")


def check_models(report: Report, gpus: list[Gpu], *, expected: str) -> None:
    """All GPUs are of one model, the one that is expected."""
    kinds = describe_models(gpus)
    models = {gpu.model for gpu in gpus}
    found = find("models differ", kinds=kinds) if len(models) > 1 else None
    report.settle("GPU models are equal", found, detail=kinds)
    if not expected:
        report.skip("GPU model", "no model is expected")
        return
    good = all(is_model(name, expected) for name in models)
    found = None if good else find("other model", kinds=kinds, expected=expected)
    report.settle("GPU model", found, detail=expected)


def describe_models(gpus: Sequence[Gpu]) -> str:
    """Count the GPUs of each model, and name the addresses of all but the commonest."""
    (common, _), *_ = counts = Counter(gpu.model for gpu in gpus).most_common()
    parts = []
    for model, count in counts:
        places = [gpu.address for gpu in gpus if gpu.model == model]
        where = f" ({', '.join(places)})" if model != common else ""
        parts.append(f"{count} x {model}{where}")
    return ", ".join(parts)


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
        report.settle(name, find("versions differ", pairs=pairs))
    elif "kernel" not in found or len(found) == 1:
        report.skip(name, f"nothing to compare: {pairs or 'no driver is loaded'}")
    else:
        report.settle(name, None, detail=f"{kinds.pop()}: {', '.join(found)}")


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
    told = answer.explain() if answer.code else "Docker has no runtime nvidia"
    report.settle(name, None if good else find("no runtime", told=told), detail="nvidia")


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
        report.settle(name, find("P2P differs", kinds=kinds))
    elif states[0] == "OK":
        report.settle(name, None, detail="supported between all pairs")
    else:
        report.skip(name, f"not supported between any pair ({states[0]}); GeForce never has it")


def read_p2p(text: str) -> list[str]:
    """Return the state of each pair from the matrix, "OK", "GNS"; colours are passed over."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).split() for line in text.splitlines()]
    rows = [words for words in lines if words and re.fullmatch(r"GPU\d+", words[0])]
    states = [word for words in rows for word in words[1:] if not word.startswith("GPU")]
    return [word for word in states if word != "X"]


# --- the kernel's log ---------------------------------------------------------------------


def check_kernel_log(report: Report, machine: Machine, models: Mapping[str, str]) -> None:
    """The driver reported no fault since the boot; any Xid fails, its class says what to do.

    Args:
        report: where the verdict goes.
        machine: the machine.
        models: names of the GPUs by address.
    """
    answer = ask(machine, "journalctl", "--dmesg", "--boot", "--output=cat", "--no-pager")
    if answer.code != 0 or not answer.text.strip():
        report.skip("kernel log", "cannot be read, root can")
        return
    lines = [line for line in answer.text.splitlines() if "NVRM: Xid" in line or GONE in line]
    faults = Counter(classify(line, models) for line in lines)
    report.figures["kernel_faults"] = [
        {
            "fault": fault.reason,
            "advice": fault.remedy,
            "count": count,
            "line": one_of(lines, fault, models),
        }
        for fault, count in faults.items()
    ]
    late = "" if "Linux version" in answer.text else " (the log begins later)"
    detail = f"no GPU fault since the boot{late}"
    found = gather(faults, lines[-1]) if faults else None
    report.settle("kernel log", found, detail=detail, value=len(lines), limit=0, unit="faults")


def gather(faults: Mapping[Found, int], last: str) -> Found:
    """Put the faults of the kernel's log together, with its last line."""
    first, *others = (
        replace(one, reason=f"{count} x {one.reason}") for one, count in faults.items()
    )
    return replace(first, remedy="; ".join([first.remedy, *map(str, others), last]))


def one_of(lines: Sequence[str], fault: Found, models: Mapping[str, str]) -> str:
    """Return the last line of a fault."""
    return next(line for line in reversed(lines) if classify(line, models) == fault)[:500]


def classify(line: str, models: Mapping[str, str]) -> Found:
    """Return what a line of the kernel's log reports, of which GPU, and what to do about it."""
    found, place = XID.search(line), PLACE.search(line)
    address = f"{place[1].lower()}.0" if place else ""
    who = f" of {address} {models.get(address, '')}".rstrip() if address else ""
    if found is None:
        what = f"GPU {GONE}" if GONE in line else "Xid of an unknown form"
        return find("Xid: restart", fault=f"{what}{who}")
    xid = int(found[1])
    return find(BY_XID.get(xid, "Xid: unknown"), fault=f"Xid {xid}{who}")
