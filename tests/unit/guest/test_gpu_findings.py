"""The table of findings, and what nvidia-smi's messages and exit codes say of single GPUs."""

import string

import pytest

from guest.checking.program import Answer
from guest.gpus import findings, nvidia_smi
from guest.gpus.findings import FINDINGS, Found, find

from .conftest import PROJECT

BUS = ("0000:01:00.0", "0000:41:00.0", "0000:81:00.0", "0000:c1:00.0")
ROW = "0, NVIDIA GeForce RTX 5090"
FIELDS = ("index", "name")
SOURCES = "".join(
    path.read_text()
    for path in sorted((PROJECT / "guest").rglob("*.py"))
    if path.name != "findings.py"
)
DOCS = (PROJECT / "docs/gpu-stack.md").read_text().partition("## Findings")[2]


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_has_a_reason_and_a_remedy_for_a_person(finding: str) -> None:
    for text in FINDINGS[finding]:
        assert text
        assert not text.endswith((".", ":", " "))


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_is_made_somewhere(finding: str) -> None:
    table = findings.BY_EXIT_CODE, findings.BY_RECOVERY_ACTION, findings.BY_XID
    named = {name for one in table for name in one.values()} | set(nvidia_smi.WORDS.values())
    assert finding in named or f'"{finding}"' in SOURCES


@pytest.mark.parametrize("finding", FINDINGS)
def test_the_documentation_has_the_table(finding: str) -> None:
    rows = [line for line in DOCS.splitlines() if line.startswith(f"| {finding} |")]
    assert len(rows) == 1
    remedy = FINDINGS[finding][1].format(address="ADDRESS", back="MODE")
    assert rows[0].endswith(f"| {remedy} |")


def test_what_was_seen_is_filled_in() -> None:
    found = find("ECC pending", address=BUS[3], current="enabled", pending="disabled", back="1")
    assert str(found) == (
        "ECC is enabled, and disabled after the next restart: restart, or take it back:"
        " sudo nvidia-smi -i 0000:c1:00.0 --ecc-config=1"
    )
    assert find("lost").remedy.startswith("restart the machine")


def test_every_gap_of_a_remedy_is_the_address() -> None:
    for finding, (_, remedy) in FINDINGS.items():
        gaps = {name for _, name, _, _ in string.Formatter().parse(remedy) if name}
        assert gaps <= ({"address", "back"} if finding == "ECC pending" else {"address"})


@pytest.mark.parametrize(
    ("line", "address", "finding"),
    [
        ("WARNING: infoROM is corrupted at gpu 0000:C1:00.0", BUS[3], "infoROM corrupt"),
        ("WARNING: infoROM is corrupted at gpu 00000000:C1:00.0", BUS[3], "infoROM corrupt"),
        ("Unable to determine the device handle for GPU 0000:41:00.0: GPU is lost.  Reboot the"
         " system to recover this GPU", BUS[1], "lost"),
        ("Unable to determine the device handle for GPU0000:41:00.0: Unknown Error", BUS[1],
         "lost"),
        ("Unable to determine the device handle for GPU1: 0000:41:00.0: Unknown Error", BUS[1],
         "lost"),
        ("Unable to determine the device handle for GPU1: Unknown Error", BUS[1], "lost"),
        ("Unable to determine the device handle for GPU 2: Unknown Error", BUS[2], "lost"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", ["text", "complaint"])
def test_a_message_is_about_its_gpu(line: str, address: str, finding: str, stream: str) -> None:
    streams = {"text": f"{ROW}\n", "complaint": ""}
    streams[stream] += f"{line}\n"
    answer = Answer(program="nvidia-smi", code=14, **streams)
    faults: dict[str, Found] = {}
    assert nvidia_smi.read_messages(answer, FIELDS, BUS, faults) == []
    assert {one: found.finding for one, found in faults.items()} == {address: finding}
    assert nvidia_smi.read_rows(answer, FIELDS) == [dict(zip(FIELDS, ROW.split(", "), strict=True))]


@pytest.mark.parametrize(
    "line",
    ["No devices were found", "Unable to determine the device handle for GPU9: Unknown Error"],
)
def test_a_message_about_no_gpu_of_the_bus_is_kept(line: str) -> None:
    answer = Answer(program="nvidia-smi", code=0, text=f"{line}\n")
    faults: dict[str, Found] = {}
    assert nvidia_smi.read_messages(answer, FIELDS, BUS, faults) == [line]
    assert faults == {}


def test_a_lost_gpu_whose_index_is_lost_has_its_place() -> None:
    text = "0, NVIDIA GeForce RTX 5090\n[GPU is lost], [GPU is lost]\n"
    rows = nvidia_smi.read_rows(Answer(program="nvidia-smi", code=0, text=text), FIELDS)
    assert [row["index"] for row in rows] == ["0", "1"]
