"""The machine as validate-gpus.sh sees it: its PCI bus, its programs, its kernel. Reads only.

CUBE_ROOT names a fake root in tests. A folder /usr/share/cube/stand-ins/simulated-gpus plays the
hardware on a real guest: bin/ before PATH, sys/, proc/ and opt/ instead of the machine's own.
Whatever is seen through either of them is evidence "simulated", and so is a machine on which
packages stand in for others.
"""

import contextlib
import csv
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STAND_INS = "usr/share/cube/stand-ins"
SIMULATED_GPUS = f"{STAND_INS}/simulated-gpus"

#: No healthy program takes longer to answer, in seconds.
LIMIT_S = float(os.environ.get("CUBE_LIMIT_S", "20"))
#: How long a killed program may take to go; one that is stuck in the driver never does.
KILL_S = 2
NOT_INSTALLED, NO_ANSWER = 127, 124

#: Source: the PCI ID registry: vendor 10de is NVIDIA, class 03 a display controller.
NVIDIA, DISPLAY = "0x10de", "0x03"
#: A device that fell off the bus reads as ones. Source: PCI Local Bus Specification 3.0, 6.1.
NO_DEVICE = b"\xff\xff"
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Source: nvidia-smi(1), "RETURN VALUE"; 18 is NVML's NVML_ERROR_LIB_RM_VERSION_MISMATCH.
SMI_CODES = {
    8: "a power cable of a GPU is not attached",
    9: "the NVIDIA driver is not loaded",
    10: "the kernel sees a fault of a GPU's interrupt",
    12: "the library libnvidia-ml is missing",
    14: "a GPU's infoROM is corrupted",
    15: "a GPU fell off the bus: restart the machine",
    18: "the driver's library is not of the version that is loaded: restart the machine",
}
UNKNOWN_FIELD = 2


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the machine's files are; `hardware` holds sys/, proc/, usr/lib and opt/."""

    state: Path
    hardware: Path
    simulated: bool

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of the programs that are asked."""
        path = f"{os.environ.get('PATH', '')}:{SBIN}"
        if self.hardware != Path("/"):
            path = f"{self.hardware / 'bin'}:{path}"
        return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}


def find_machine(base: Path = Path("/")) -> Machine:
    """Return the machine whose root is `base`, or the one that stands in for it."""
    root = os.environ.get("CUBE_ROOT", "")
    state = Path(root or base)
    stand_in = state / SIMULATED_GPUS
    marked = any((state / STAND_INS).glob("*"))
    hardware = stand_in if stand_in.is_dir() else state
    return Machine(state=state, hardware=hardware, simulated=bool(root) or marked)


def read_text(path: Path) -> str:
    """Return a file's text without its end, or "" where it cannot be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""


# --- programs -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program left: its exit code and its output."""

    program: str
    code: int
    text: str
    complaint: str = ""

    def explain(self) -> str:
        """Say how it failed."""
        if self.code == NOT_INSTALLED:
            return f"{self.program}: not installed"
        if self.code == NO_ANSWER:
            return f"{self.program}: {self.complaint}"
        lines = (self.text + "\n" + self.complaint).strip().splitlines() or ["no output"]
        return f"{self.program}: exit code {self.code}: {lines[-1]}"


def ask(machine: Machine, *argv: str) -> Answer:
    """Run a program within the time limit; it is ended with its children when it hangs."""
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", env=machine.environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return Answer(program=argv[0], code=NOT_INSTALLED, text="", complaint=str(error))
    try:
        text, complaint = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        told = f"no answer within {LIMIT_S:g} s"
        if not end(process):
            told += f", and process {process.pid} cannot be killed: restart the machine"
        for pipe in (process.stdout, process.stderr):
            assert pipe
            pipe.close()
        return Answer(program=argv[0], code=NO_ANSWER, text="", complaint=told)
    return Answer(program=argv[0], code=process.returncode, text=text, complaint=complaint)


def end(process: "subprocess.Popen[str]", *, grace_s: float = 0) -> bool:
    """End a process with its group; false when the kernel does not let go of it."""
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
        if wait_s:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=wait_s)
    return process.poll() is not None


# --- nvidia-smi ---------------------------------------------------------------------------


class SmiError(Exception):
    """nvidia-smi did not answer; the text says why. `code` is its exit code."""

    def __init__(self, answer: Answer) -> None:
        self.code = answer.code
        known = SMI_CODES.get(answer.code)
        super().__init__(f"{known} (exit code {answer.code})" if known else answer.explain())


def query(machine: Machine, fields: Sequence[str]) -> list[dict[str, str]]:
    """Ask nvidia-smi for fields of every GPU; the values of a lost one are words.

    Raises:
        SmiError: it is missing, hangs or refuses; one unknown field makes it refuse all.
    """
    wanted = ",".join(fields)
    answer = ask(machine, "nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader,nounits")
    if answer.code != 0:
        raise SmiError(answer)
    rows = csv.reader(answer.text.splitlines(), skipinitialspace=True)
    return [dict(zip(fields, row, strict=False)) for row in rows if row]


def query_known(machine: Machine, fields: Sequence[str]) -> dict[str, dict[str, str]]:
    """Ask for optional fields, one by one when the driver does not know them all.

    Returns:
        The fields that the driver knows, by the GPU's index.

    Raises:
        SmiError: it does not answer any more.
    """
    try:
        return {row["index"]: row for row in query(machine, ("index", *fields))}
    except SmiError as error:
        if error.code != UNKNOWN_FIELD:
            raise
    found: dict[str, dict[str, str]] = {}
    for field in fields:
        try:
            rows = query(machine, ("index", field))
        except SmiError as error:
            if error.code != UNKNOWN_FIELD:
                raise
            continue
        for row in rows:
            found.setdefault(row["index"], {}).update(row)
    return found


def number(values: Mapping[str, str], field: str) -> float | None:
    """Return a field's value; None for "[N/A]" and the like, which is not zero."""
    with contextlib.suppress(ValueError):
        return float(values.get(field, ""))
    return None


# --- the PCI bus --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Bus:
    """Addresses of NVIDIA's GPUs, those of them that do not answer, and other vendors' ids."""

    gpus: tuple[str, ...]
    silent: tuple[str, ...]
    others: tuple[str, ...]


def read_bus(machine: Machine) -> Bus:
    """Look for display controllers."""
    gpus, silent, others = [], [], []
    for device in sorted(machine.hardware.glob("sys/bus/pci/devices/*")):
        vendor, kind = read_text(device / "vendor"), read_text(device / "class")
        if not kind.startswith(DISPLAY):
            continue
        if vendor != NVIDIA:
            others.append(vendor.removeprefix("0x"))
            continue
        gpus.append(device.name)
        with contextlib.suppress(OSError):
            if (device / "config").read_bytes()[:2] == NO_DEVICE:
                silent.append(device.name)
    return Bus(gpus=tuple(gpus), silent=tuple(silent), others=tuple(others))


def sysfs_address(bus_id: str) -> str:
    """Return sysfs's form, "0000:c1:00.0", of nvidia-smi's "00000000:C1:00.0"."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def in_virtual_machine(machine: Machine) -> bool:
    """Tell whether this is a guest. Source: the kernel's name of CPUID leaf 1, ECX bit 31."""
    return " hypervisor" in read_text(machine.hardware / "proc/cpuinfo")
