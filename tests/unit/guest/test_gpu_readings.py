"""What validate-gpus.sh makes of what it reads: names, versions, clocks, temperatures."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest.gpus import idle, nvidia_smi, system
from guest.gpus.device import Gpu
from guest.gpus.machine import Machine
from guest.gpus.report import Report

from .conftest import PROJECT

GPUS = tomllib.loads((PROJECT / "cube/stack/compatibility.toml").read_text())["gpu"]


@pytest.mark.parametrize("model", GPUS)
def test_every_known_model_is_told_by_its_name(model: str) -> None:
    name = f"NVIDIA {GPUS[model]['title']}"
    assert [other for other in GPUS if system.is_model(name, other)] == [model]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "rtx-pro-6000"),
    ],
)
def test_a_name_may_go_on(name: str, model: str) -> None:
    assert system.is_model(name, model)


@pytest.mark.parametrize(
    "name",
    ["NVIDIA GeForce RTX 5090 D", "NVIDIA GeForce RTX 5090 Laptop GPU", "NVIDIA GeForce RTX 509",
     "NVIDIA GeForce RTX 5080", "", "[N/A]"],
)  # fmt: skip
def test_another_model_is_not_a_5090(name: str) -> None:
    assert not system.is_model(name, "rtx-5090")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build (a)",
         "580.95.05"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8 12:41:17 UTC",
         "550.163.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module  570.86.15  Release Build", "570.86.15"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_running_driver_is_read(tmp_path: Path, text: str, version: str) -> None:
    file = tmp_path / "proc/driver/nvidia/version"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    machine = Machine(state=tmp_path, hardware=tmp_path, simulated=True)
    assert next(system.read_versions(machine)) == ("kernel", version)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the"
         " bus.", ("Xid 79 of 0000:01:00.0", "restart the machine")),
        ("[ 12.3] NVRM: Xid (0000:41:00): 119, pid=988, Timeout waiting for RPC",
         ("Xid 119 of 0000:41:00.0 RTX 5090", "reset the GPU")),
        ("NVRM: Xid (PCI:0000:41:00): 54, pid=988",
         ("Xid 54 of 0000:41:00.0 RTX 5090", "check the power cables")),
        ("NVRM: GPU at PCI:0000:01:00: GPU has fallen off the bus.",
         ("GPU fallen off the bus of 0000:01:00.0", "restart the machine")),
        ("NVRM: Xid of another form", ("Xid of an unknown form", "restart the machine")),
    ],
)  # fmt: skip
def test_a_fault_in_the_log_has_its_class(line: str, told: tuple[str, str]) -> None:
    found = system.classify(line, {"0000:41:00.0": "RTX 5090"})
    assert (found.reason, found.remedy) == told


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x0, "none"),
        (0x1, "idle"),
        (0x44, "power limit, hardware thermal slowdown"),
        (0x1004, "power limit, unknown reason 0x1000"),
    ],
)
def test_reasons_of_the_clocks_are_named(bits: int, words: str) -> None:
    assert idle.described(bits) == words


@pytest.mark.parametrize("text", ["[N/A]", "", "[Unknown Error]", "idle"])
def test_reasons_that_are_not_told_are_none(text: str) -> None:
    assert idle.reasons_of({"clocks_event_reasons.active": text}) is None


def test_a_matrix_of_one_gpu_has_no_pair() -> None:
    assert system.read_p2p("\t\x1b[4mGPU0\x1b[0m\n GPU0\tX\n\nLegend:\n  X    = Self\n") == []


# --- what is read twice -------------------------------------------------------------------


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The rows that nvidia-smi gives, one after the other."""
    rows: list[dict[str, str]] = []
    left: Iterator[dict[str, str]] = iter(rows)

    def query(_machine: Machine, fields: tuple[str, ...]) -> list[dict[str, str]]:
        return [{"index": "0", **next(left)}]

    monkeypatch.setattr(idle, "query", query)
    monkeypatch.setattr(nvidia_smi, "query", query)
    monkeypatch.setattr(idle, "SETTLE_STEP_S", 0.001)
    monkeypatch.setattr(idle, "SECOND_LOOK_S", 0.001)
    return rows


MACHINE = Machine(state=Path("/nowhere"), hardware=Path("/nowhere"), simulated=True)


def warm(celsius: str, **more: str) -> Gpu:
    return Gpu(index=0, values={"index": "0", "temperature.gpu": celsius, **more})


def temperature(gpu: Gpu, *, settled: bool) -> str:
    report = Report(evidence="simulated")
    idle.check_temperature(report, gpu, settled=settled)
    return str(report.checks["GPU 0 temperature"]["status"])


def test_a_gpu_that_cools_after_work_has_its_time(answers: list[dict[str, str]]) -> None:
    answers += [{"temperature.gpu": text} for text in ("75", "66", "58")]
    gpu = warm("80")
    idle.settle(MACHINE, [gpu], limit_s=5)
    assert temperature(gpu, settled=True) == "OK"


def test_a_short_look_lets_a_cooling_gpu_pass_and_a_long_one_does_not(
    answers: list[dict[str, str]],
) -> None:
    answers += [{"temperature.gpu": "75"}]
    gpu = warm("80")
    idle.settle(MACHINE, [gpu], limit_s=0.0005)
    assert temperature(gpu, settled=False) == "OK"
    assert temperature(gpu, settled=True) == "FAIL"


def test_an_idle_gpu_that_stays_warm_fails(answers: list[dict[str, str]]) -> None:
    answers += [{"temperature.gpu": "72"}]
    gpu = warm("72")
    idle.settle(MACHINE, [gpu], limit_s=5)
    assert temperature(gpu, settled=False) == "FAIL"


@pytest.mark.parametrize(("celsius", "status"), [("59", "OK"), ("60", "FAIL")])
def test_the_limit_itself_is_too_warm(celsius: str, status: str) -> None:
    assert temperature(warm(celsius), settled=False) == status


@pytest.mark.parametrize(
    ("again", "status"), [("0x0000000000000001", "OK"), ("0x0000000000000008", "FAIL")]
)
def test_a_slowdown_of_a_moment_is_a_change_of_the_clocks(
    answers: list[dict[str, str]], again: str, status: str
) -> None:
    answers += [{"clocks_event_reasons.active": again}]
    gpu = warm("40", **{"clocks_event_reasons.active": "0x0000000000000008"})
    report = Report(evidence="simulated")
    idle.check_throttling(report, [gpu], MACHINE)
    assert report.checks["GPU 0 throttling"]["status"] == status
