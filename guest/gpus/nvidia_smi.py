"""What nvidia-smi says of each GPU. A GPU that is sick hides no other.

It refuses a whole query for one unknown field (exit code 2), answers 0 for a GPU that is lost, and
ends with the code of one GPU's fault although it lists all of them, or before it lists any.
"""

import contextlib
import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from guest.checking.program import NO_ANSWER, NOT_INSTALLED, Answer
from guest.gpus.machine import Machine, ask, read_bus

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
#: Exit codes that no GPU alone can cause.
OF_THE_DRIVER = {UNKNOWN_FIELD, 9, 12, 18, NO_ANSWER, NOT_INSTALLED}

Row = dict[str, str]


class SmiError(Exception):
    """nvidia-smi did not answer; the text says why. `code` is its exit code."""

    def __init__(self, answer: Answer) -> None:
        self.code = answer.code
        refused = re.search(r'Field "([^"]+)" is not a valid field', answer.text + answer.complaint)
        self.unknown_field = refused[1] if refused and answer.code == UNKNOWN_FIELD else ""
        known = SMI_CODES.get(answer.code)
        super().__init__(f"{known} (exit code {answer.code})" if known else answer.explain())


def query(machine: Machine, fields: Sequence[str]) -> list[Row]:
    """Ask nvidia-smi for fields of every GPU, the first of which is "index".

    A lost GPU's values are words. Where one GPU makes nvidia-smi list none, each is asked alone.

    Raises:
        SmiError: it is missing, hangs or refuses; one unknown field makes it refuse all.
    """
    return read(machine, fields)[0]


def read(machine: Machine, fields: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Return what `query` returns, and the lines that are about no GPU's values.

    Raises:
        SmiError: as `query`.
    """
    answer = ask_fields(machine, fields)
    rows, messages = read_rows(answer, fields), read_messages(answer, fields)
    if not rows and answer.code not in {0, *OF_THE_DRIVER}:
        alone = [ask_fields(machine, fields, "-i", gpu) for gpu in read_bus(machine).gpus]
        rows = [row for one in alone for row in read_rows(one, fields)]
    if not rows and answer.code != 0:
        raise SmiError(answer)
    return rows, messages


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


def read_messages(answer: Answer, fields: Sequence[str]) -> list[str]:
    """Return the lines of both streams that are no GPU's values."""
    odd = [", ".join(cells) for cells in read_cells(answer) if not is_row(cells, fields)]
    return [*odd, *filter(None, answer.complaint.splitlines())]


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


def number(values: Mapping[str, str], field: str) -> float | None:
    """Return a field's value; None for "[N/A]" and the like, which is not zero."""
    with contextlib.suppress(ValueError):
        value = float(values.get(field, ""))
        return value if math.isfinite(value) else None
    return None
