"""test-pytorch-ddp.py: what it makes of trainings that go well and badly."""

import copy
import re
from typing import Any

import pytest

from guest.suites.pytorch import checks
from guest.suites.pytorch.program import NAMES
from guest.suites.report import Report
from tests.unit.guest.conftest import FAKES, Box, failed, statuses

from .running import detail, judge

PARAMETERS = 25_557_032


def training(ranks: int, rate: float, **more: Any) -> dict[str, Any]:
    return {
        "parameters": PARAMETERS,
        "images_per_second": rate,
        "steps": 50,
        "elapsed_seconds": 30.0,
        "window": [0.0, 0.0],
        "losses": [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5],
        "digests": ["ab" * 32] * ranks,
        "own_images_per_second": [2600.0] * ranks,
        "memory_mib": [20000.0] * ranks,
        **more,
    }


def results(ranks: int, *, gpus: int) -> dict[str, Any]:
    return {
        "probe": {"result": {"versions": {"torch": "2.13.0"}, "gpus": ["RTX 5090"] * gpus}},
        "launch 1": {"result": training(1, 2500.0)},
        f"launch {ranks}": {"result": training(ranks, ranks * 2200.0), "seconds": 1.5 * bool(gpus)},
    }


def changed(table: dict[str, Any], act: str, **more: Any) -> dict[str, Any]:
    table = copy.deepcopy(table)
    table[act]["result"] |= more
    return table


@pytest.fixture
def gpus(box: Box) -> Box:
    """Four GPUs, as busy as training makes them."""
    box.plug_gpus(4)
    busy(box, "98", "97", "99", "98")
    return box


def busy(box: Box, *percent: str) -> None:
    rows = "\\n".join(f"{at}, {one}, 550.00, 71, 30000" for at, one in enumerate(percent))
    box.fake_script("nvidia-smi", f"printf '{rows}\\n'")


def test_four_good_gpus_pass(gpus: Box) -> None:
    code, data = judge(gpus, "pytorch", results(4, gpus=4), "--quick")
    assert (code, failed(data)) == (0, [])
    assert set(statuses(data)) == set(NAMES)
    assert data["counts"]["skip"] == 0
    assert data["evidence"] == "simulated"
    assert data["figures"]["utilisation_median_percent"] == [98, 97, 99, 98]
    assert data["figures"]["scaling_percent"] == pytest.approx(88)
    figures = data["figures"]
    (series,) = {len(figures[name]["GPU 3"]) for name in ("utilisation_percent", "power_watts")}
    assert series == len(figures["sampled_at_seconds"]) > 1


def test_without_a_gpu_what_needs_one_is_deferred(box: Box) -> None:
    code, data = judge(box, "pytorch", results(2, gpus=0), "--quick")
    assert (code, failed(data)) == (0, [])
    skipped = {row["name"]: row["detail"] for row in data["checks"] if row["status"] == "SKIP"}
    assert set(skipped) == {"devices", "GPUs alike", "scaling efficiency", "utilisation"}
    assert all(text.startswith("deferred: ") for text in skipped.values())


GOOD = results(4, gpus=4)
LOST = "rank0: torch.distributed.DistBackendError: NCCL error in: ncclRemoteError"


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (changed(GOOD, "launch 4", images_per_second=7000.0), ["scaling efficiency"]),
        (changed(GOOD, "launch 1", parameters=25_500_000), ["single training"]),
        (changed(GOOD, "probe", gpus=["G"] * 3), ["devices"]),
        (changed(GOOD, "probe", gpus=[]), ["devices"]),
        (GOOD | {"launch 4": {**GOOD["launch 4"], "log": LOST}}, ["communication errors"]),
        (GOOD | {"launch 4": {"code": 1, "log": "Segmentation fault"}}, ["distributed training"]),
        (GOOD | {"launch 4": {"code": 0}}, ["distributed training"]),
        (GOOD | {"launch 1": {"code": -9}}, ["single training"]),
    ],
)
def test_each_fault_fails_its_own_check(gpus: Box, table: Any, names: list[str]) -> None:
    code, data = judge(gpus, "pytorch", table, "--quick")
    assert (code, failed(data)) == (1, names)
    assert set(statuses(data)) == set(NAMES)


def verdicts(function: str, *arguments: object) -> list[str]:
    """Return the statuses that a function that checks gives."""
    report = Report(check="pytorch", names=NAMES)
    getattr(checks, function)(report, *arguments)
    return [str(entry["status"]) for entry in report.checks.values()]


@pytest.mark.parametrize(
    ("losses", "statuses"),
    [
        ([7.0, 5.0, 3.0, 1.0], ["OK", "OK"]),
        ([7.0, None, 5.0], ["FAIL", "FAIL"]),
        ([], ["FAIL", "FAIL"]),
        ([1.0], ["OK", "FAIL"]),
        ([1.0, 1.0, 1.0, 1.0], ["OK", "FAIL"]),
        ([1.0, 1.0, 2.0, 4.0], ["OK", "FAIL"]),
    ],
)
def test_losses(losses: list[float | None], statuses: list[str]) -> None:
    assert verdicts("check_losses", losses) == statuses


@pytest.mark.parametrize(
    ("digests", "status"), [("aaaa", "OK"), ("aaba", "FAIL"), ("aaa", "FAIL"), ("", "FAIL")]
)
def test_parameters_of_four_ranks(digests: str, status: str) -> None:
    assert verdicts("check_digests", list(digests), 4) == [status]


@pytest.mark.parametrize(
    ("rates", "status"), [([100, 99, 95, 98], "OK"), ([100, 99, 50, 98], "FAIL"), ([7], "OK")]
)
def test_gpus_that_differ(rates: list[float], status: str) -> None:
    assert verdicts("check_alike", rates) == [status]


@pytest.mark.parametrize(
    ("row", "count", "status"),
    [
        ([[98.0], [97.0]], 10, "OK"),
        ([[98.0], [90.0]], 10, "FAIL"),
        ([[98.0], [None]], 10, "FAIL"),
        ([[98.0]], 10, "FAIL"),
        ([[98.0], [97.0]], 9, "FAIL"),
        ([[98.0], [97.0]], 0, "FAIL"),
    ],
)
def test_utilisation_in_ten_seconds(row: Any, count: int, status: str) -> None:
    assert verdicts("check_utilisation", [row] * count, 2, 10.0) == [status]


def test_an_idle_gpu_fails_by_its_number(gpus: Box) -> None:
    busy(gpus, "98", "98", "60", "98")
    code, data = judge(gpus, "pytorch", GOOD, "--quick")
    assert (code, failed(data)) == (1, ["utilisation"])
    assert "GPU 2 60 %" in detail(data, "utilisation")


def test_a_warning_about_one_gpu_hides_no_sample(gpus: Box) -> None:
    rows = "\\n".join(f"{at}, 98, 550.00, 71, 30000" for at in range(4))
    gpus.fake_script("nvidia-smi", f"printf '{rows}\n'; echo WARNING: infoROM >&2; exit 14")
    code, data = judge(gpus, "pytorch", GOOD, "--quick")
    assert (code, failed(data)) == (0, [])


@pytest.mark.parametrize("script", ["exit 9", "sleep 9"])
def test_utilisation_that_nobody_tells_is_a_failure(gpus: Box, script: str) -> None:
    gpus.fake_script("nvidia-smi", script)
    code, data = judge(gpus, "pytorch", GOOD, "--quick")
    assert (code, failed(data)) == (1, ["utilisation"])


def test_out_of_memory_is_called_so(gpus: Box) -> None:
    error = "rank 3: out of memory: CUDA out of memory"
    table = GOOD | {"launch 4": {"code": 1, "result": {"error": error}}}
    _, data = judge(gpus, "pytorch", table)
    assert detail(data, "distributed training") == error


def test_a_hung_training_fails_and_what_it_said_is_kept(gpus: Box, tmp_path: Any) -> None:
    table = GOOD | {"launch 4": {"hang": str(tmp_path / "pid"), "log": "step 3"}}
    code, data = judge(gpus, "pytorch", table, "--limit", "1")
    assert (code, failed(data)) == (1, ["distributed training"])
    assert "hung" in detail(data, "distributed training")
    assert "step 3" in data["figures"]["log_of_distributed_training"]


def test_a_gpu_that_torch_does_not_see_is_no_reason_for_the_processor(gpus: Box) -> None:
    _, data = judge(gpus, "pytorch", changed(GOOD, "probe", gpus=[]))
    assert detail(data, "devices") == "torch sees 0 GPUs, expected 4, on the bus 4"


def test_pretending_needs_a_fake_root(box: Box) -> None:
    fake = str(FAKES / "framework")
    done = box.run("test-pytorch-ddp.py", "--simulate-gpus", "4", "--python", fake, CUBE_ROOT="")
    assert done.returncode == 2
    assert "--simulate-gpus is for tests" in done.stderr


def test_one_rank_has_nothing_to_compare(box: Box) -> None:
    assert box.run("test-pytorch-ddp.py", "--cpu-ranks", "1").returncode == 2


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("NCCL version 2.29.7+cuda13.0", False),
        ("cube:1:2 [0] NCCL INFO Bootstrap: Using eth0", False),
        ("cube:1:2 [0] init.cc:99 NCCL WARN Cuda failure 'peer access is not supported'", True),
        ("cube:1:2 [0] NCCL WARN NET/Socket: Connection timeout, aborting", True),
        ("cube:1:2 [0] NCCL WARN MIN/MAX channels set by user", False),
        ("[rank2]: Watchdog caught collective operation timeout: WorkNCCL(...)", True),
        ("RuntimeError: [...] Connection closed by peer [127.0.0.1]:3542", True),
        ("ncclUnhandledCudaError: Call to CUDA function failed.", True),
    ],
)
def test_words_of_ranks_that_lost_each_other(line: str, bad: bool) -> None:
    assert bool(re.search(checks.FAULTS, line)) is bad
