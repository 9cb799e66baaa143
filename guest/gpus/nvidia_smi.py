"""What nvidia-smi says of each GPU. A GPU that is sick hides no other.

It refuses a whole query for one unknown field (exit code 2), answers 0 for a GPU that is lost, and
ends with the code of one GPU's fault although it lists all of them, or before it lists any.
"""

import contextlib
import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from xml.etree import ElementTree

from guest.checking.program import NO_ANSWER, NOT_INSTALLED, Answer
from guest.gpus.findings import BY_EXIT_CODE, Found, find
from guest.gpus.machine import Machine, ask, read_bus, sysfs_address

UNKNOWN_FIELD = 2
#: Exit codes that no GPU alone can cause.
OF_THE_DRIVER = {UNKNOWN_FIELD, 9, 12, 18, NO_ANSWER, NOT_INSTALLED}
#: What it prints of a GPU beside the values: "WARNING: infoROM is corrupted at gpu 0000:67:00.0",
#: "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error", the same with
#: "GPU0000:34:00.0" or "GPU 0000:34:00.0", and with "GPU is lost. Reboot the system ...".
ADDRESS = re.compile(r"(?:[0-9a-f]{4})?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE)
NUMBERED = re.compile(r"\bGPU ?(\d{1,2})(?!\d|[0-9a-f]*:[0-9a-f]{2}:)", re.IGNORECASE)
WORDS = {"inforom": "infoROM corrupt", "lost": "lost", "device handle": "lost"}

Row = dict[str, str]


class SmiError(Exception):
    """nvidia-smi did not answer; `found` says why. `code` is its exit code."""

    def __init__(self, answer: Answer) -> None:
        self.code = answer.code
        refused = re.search(r'Field "([^"]+)" is not a valid field', answer.text + answer.complaint)
        self.unknown_field = refused[1] if refused and answer.code == UNKNOWN_FIELD else ""
        self.found = explain(answer)
        super().__init__(self.found.reason)


@dataclass(kw_only=True)
class Survey:
    """What nvidia-smi says of all GPUs.

    Args:
        rows: the values of each GPU that it lists.
        faults: what is wrong with a GPU, by its address as sysfs writes it.
        found: what is wrong with its answer as a whole.
    """

    rows: list[Row] = field(default_factory=list)
    faults: dict[str, Found] = field(default_factory=dict)
    found: Found | None = None


def explain(answer: Answer) -> Found:
    """Return what an answer's exit code says of the driver."""
    if answer.code not in BY_EXIT_CODE:
        return find("no answer", told=answer.explain())
    found = find(BY_EXIT_CODE[answer.code])
    return replace(found, reason=f"{found.reason} (exit code {answer.code})")


def query(machine: Machine, fields: Sequence[str]) -> list[Row]:
    """Ask nvidia-smi for fields of every GPU, the first of which is "index".

    A lost GPU's values are words. Where one GPU makes nvidia-smi list none, each is asked alone.

    Raises:
        SmiError: it is missing, hangs or refuses; one unknown field makes it refuse all.
    """
    answer = ask_fields(machine, fields)
    rows = read_rows(answer, fields)
    if not rows and answer.code not in {0, *OF_THE_DRIVER}:
        alone = ask_each(machine, fields).values()
        rows = [row for one in alone for row in read_rows(one, fields)]
    if not rows and answer.code != 0:
        raise SmiError(answer)
    return rows


def survey(machine: Machine, fields: Sequence[str]) -> Survey:
    """Ask for fields as `query` does, and find out which GPU a message or an exit code is about.

    Raises:
        SmiError: as `query`.
    """
    bus = read_bus(machine).gpus
    answer = ask_fields(machine, fields)
    seen = Survey(rows=read_rows(answer, fields))
    rest = read_messages(answer, fields, bus, seen.faults)
    if answer.code not in {0, *OF_THE_DRIVER} and not (seen.rows and seen.faults):
        alone = ask_each(machine, fields)
        if not seen.rows:
            seen.rows = [row for one in alone.values() for row in read_rows(one, fields)]
        for address, one in alone.items():
            if one.code != 0:
                told = one.explain()
                found = find(BY_EXIT_CODE.get(one.code, "silent"), address=address, told=told)
                seen.faults.setdefault(address, found)
    if not seen.rows and answer.code != 0:
        raise SmiError(answer)
    if rest or not seen.rows:
        told = "; ".join(rest) or "no GPU"
        seen.found = find("driver message", told=told)
    elif answer.code != 0 and not seen.faults:
        seen.found = explain(answer)
    return seen


def ask_each(machine: Machine, fields: Sequence[str]) -> dict[str, Answer]:
    """Ask for the fields of each GPU on the PCI bus alone, by its address."""
    return {gpu: ask_fields(machine, fields, "-i", gpu) for gpu in read_bus(machine).gpus}


def read_messages(
    answer: Answer, fields: Sequence[str], bus: Sequence[str], faults: dict[str, Found]
) -> list[str]:
    """Put what the messages say of single GPUs into `faults`; return the other messages."""
    odd = [", ".join(cells) for cells in read_cells(answer) if not is_row(cells, fields)]
    rest = []
    for line in [*odd, *(answer.complaint.splitlines() if answer.code else [])]:
        address = named_gpu(line, bus)
        finding = next((one for word, one in WORDS.items() if word in line.lower()), "")
        if address and finding:
            faults[address] = find(finding, address=address)
        elif line.strip():
            rest.append(line.strip())
    return rest


def named_gpu(line: str, bus: Sequence[str]) -> str:
    """Return the address of the GPU that a message names, by its address or its number."""
    if found := ADDRESS.search(line):
        return found[1].lower()
    number = NUMBERED.search(line)
    return bus[int(number[1])] if number and int(number[1]) < len(bus) else ""


def ask_fields(machine: Machine, fields: Sequence[str], *options: str) -> Answer:
    """Ask nvidia-smi for fields, of all GPUs or as the options say."""
    wanted = f"--query-gpu={','.join(fields)}"
    return ask(machine, "nvidia-smi", wanted, "--format=csv,noheader,nounits", *options)


def read_rows(answer: Answer, fields: Sequence[str]) -> list[Row]:
    """Return the GPUs that an answer lists; an index that is no number is its place."""
    lines = [cells for cells in read_cells(answer) if is_row(cells, fields)]
    rows = [dict(zip(fields, cells, strict=True)) for cells in lines]
    return [
        row if row["index"].isdigit() else {**row, "index": str(place)}
        for place, row in enumerate(rows)
    ]


def read_cells(answer: Answer) -> Iterator[list[str]]:
    """Yield the lines of the standard output that are not blank, as CSV."""
    rows = csv.reader(answer.text.splitlines(), skipinitialspace=True)
    yield from (row for row in rows if row)


def is_row(cells: list[str], fields: Sequence[str]) -> bool:
    """Tell a GPU's line from a message: "[GPU is lost]" stands in place of any value."""
    return len(cells) == len(fields) and (cells[0].isdigit() or cells[0].startswith("["))


def query_known(machine: Machine, fields: Sequence[str]) -> dict[str, Row]:
    """Ask for optional fields, without those that the driver does not know.

    Returns:
        The fields that the driver knows, by the GPU's index.

    Raises:
        SmiError: it does not answer any more.
    """
    left = list(fields)
    while True:
        try:
            return {row["index"]: row for row in query(machine, ("index", *left))}
        except SmiError as error:
            if error.unknown_field not in left:
                raise
            left.remove(error.unknown_field)


def known_fields(machine: Machine, fields: Sequence[str]) -> tuple[str, ...]:
    """Return "index" and those of the fields that the driver knows.

    Raises:
        SmiError: it does not answer.
    """
    return tuple(next(iter(query_known(machine, fields).values()), {"index": ""}))


def query_details(machine: Machine) -> dict[str, ElementTree.Element]:
    """Return all that nvidia-smi says of each GPU, by its address as sysfs writes it.

    Messages may stand around the document; nothing is returned where there is none.
    """
    answer = ask(machine, "nvidia-smi", "--query", "--xml-format")
    found = re.search(r"<nvidia_smi_log>.*</nvidia_smi_log>", answer.text, re.DOTALL)
    try:
        root = ElementTree.fromstring(found[0]) if found else None  # noqa: S314 (the driver's own)
    except ElementTree.ParseError:
        root = None
    return (
        {} if root is None else {sysfs_address(gpu.get("id", "")): gpu for gpu in root.iter("gpu")}
    )


def number(values: Mapping[str, str], name: str) -> float | None:
    """Return a field's value; None for "[N/A]" and the like, which is not zero."""
    with contextlib.suppress(ValueError):
        value = float(values.get(name, ""))
        return value if math.isfinite(value) else None
    return None
