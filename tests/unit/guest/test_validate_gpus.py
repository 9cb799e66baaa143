"""validate-gpus.sh on a simulated box: every fault is found by its own check, and by no other."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cube.runtime.run import run
from guest.checking.report import EXIT_CODES
from guest.gpus import report
from tests.simulated.box import SimulatedBox
from tests.simulated.faults import BESIDE, FAULTS, HEALTHY, STATE, UNDER_LOAD

from .conftest import PROJECT, interpreter

SCRIPT = interpreter("validate-gpus.sh")
LOAD = ("--load", "--seconds", "0.2")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the suite said: its exit code and its object."""

    code: int
    told: dict[str, Any]

    @property
    def failed(self) -> set[str]:
        """Return the names of the checks that failed."""
        return {c["name"] for c in self.told["checks"] if c["status"] == "FAIL"}

    def check(self, name: str) -> dict[str, Any]:
        """Return a check."""
        (found,) = [check for check in self.told["checks"] if check["name"] == name]
        return dict(found)


def judge(box: SimulatedBox, *arguments: str, **more: str) -> Verdict:
    """Run the suite on a box."""
    done = run(
        [*SCRIPT, "--json", *arguments],
        accept=range(256),
        env=box.environment(**more),
        timeout_s=60,
    )
    return Verdict(code=done.returncode, told=json.loads(done.stdout))


@pytest.fixture
def healthy(tmp_path: Path) -> SimulatedBox:
    return SimulatedBox.make(tmp_path / "box")


def both_forms() -> list[Any]:
    """Return every fault with load; without, where load makes a difference, or with all tests."""
    idle = {one.name for one in (*HEALTHY, *UNDER_LOAD)} | {"hot", "lost", "no_driver"}
    rare = [pytest.mark.exhaustive]
    settled = {one.name for one in (*STATE, *BESIDE)}  # load makes no difference to these
    idle |= settled
    return [
        *(pytest.param(name, True, id=f"{name}-load") for name in sorted(FAULTS.keys() - settled)),
        *(
            pytest.param(name, False, id=f"{name}-idle", marks=() if name in idle else rare)
            for name in FAULTS
        ),
    ]


@pytest.mark.parametrize(("fault", "load"), both_forms())
def test_a_fault_fails_its_own_checks_and_no_other(tmp_path: Path, fault: str, load: bool) -> None:
    box = SimulatedBox.make(tmp_path / "box", fault)
    verdict = judge(box, *(LOAD if load else ()))
    expected = {*box.fault.fails, *(box.fault.fails_loaded if load else ())}
    outcome = box.fault.outcome or ("fail" if expected else "pass")
    assert verdict.failed == expected
    assert (verdict.told["outcome"], verdict.code) == (outcome, EXIT_CODES[outcome])
    assert verdict.told["evidence"] == ("none" if outcome == "not_run" else "simulated")
    if outcome != "not_run":
        names = [check["name"] for check in verdict.told["checks"]]
        assert names == report.names(4, load=load)
    if expected:
        details = [c["detail"] for c in verdict.told["checks"] if c["status"] == "FAIL"]
        assert any(box.fault.says in detail for detail in details), details


def test_every_check_has_a_fault_that_fails_it() -> None:
    planted = {name for fault in FAULTS.values() for name in (*fault.fails, *fault.fails_loaded)}
    kinds = {re.sub(r"^GPU \d", "GPU", name) for name in planted}
    assert kinds == {re.sub(r"^GPU \d", "GPU", name) for name in report.names(4, load=True)}


def test_every_check_is_described() -> None:
    text = (PROJECT / "docs/validate.md").read_text().partition("## GPU detection")[2]
    text = text.partition("\n## ")[0]
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert rows == {re.sub(r"^GPU \d", "GPU N", name) for name in report.names(4, load=True)}


@pytest.mark.parametrize("fault", ["three", "lost", "no_driver", "load_dies"])
def test_what_could_not_be_judged_says_why(tmp_path: Path, fault: str) -> None:
    verdict = judge(SimulatedBox.make(tmp_path / "box", fault), *LOAD)
    reasons = {
        "three": ("GPU 3 link", "the driver does not see this GPU"),
        "lost": ("GPU 3 link", "this GPU is lost"),
        "no_driver": ("GPU 3 link", "the driver does not answer"),
        "load_dies": ("GPU 3 bandwidth", "the load failed"),
    }
    name, reason = reasons[fault]
    assert verdict.check(name)["detail"] == reason


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("nothing_told", "GPU 0 link"),
        ("nothing_told", "GPU 0 throttling"),
        ("healthy", "GPU 0 memory errors"),
        ("healthy", "P2P between GPUs"),
        ("no_layer3", "container runtime"),
        ("no_aer", "GPU 3 PCIe errors"),
        ("virtual_machine", "GPU 0 link"),
    ],
)
def test_not_applicable_is_no_pass(tmp_path: Path, fault: str, name: str) -> None:
    verdict = judge(SimulatedBox.make(tmp_path / "box", fault))
    assert verdict.check(name)["status"] == "SKIP"


def test_without_pytorch_the_load_is_deferred(tmp_path: Path) -> None:
    verdict = judge(SimulatedBox.make(tmp_path / "box", "no_pytorch"), *LOAD)
    for name in ("load", "GPU 0 bandwidth", "GPU 3 link under load"):
        check = verdict.check(name)
        assert check["status"] == "SKIP"
        assert check["detail"].startswith("deferred: ")


def test_in_a_virtual_machine_bandwidth_judges_the_link(tmp_path: Path) -> None:
    verdict = judge(SimulatedBox.make(tmp_path / "box", "virtual_machine"), *LOAD)
    assert verdict.check("GPU 0 link under load")["detail"].startswith("deferred: ")
    assert verdict.check("GPU 0 bandwidth")["status"] == "OK"


def test_another_vendor_is_named(tmp_path: Path) -> None:
    verdict = judge(SimulatedBox.make(tmp_path / "box", "another_vendor"))
    assert "(1002)" in verdict.told["reason"]


def test_numbers_carry_their_limit_and_unit(healthy: SimulatedBox) -> None:
    verdict = judge(healthy, *LOAD)
    check = verdict.check("GPU 2 bandwidth")
    assert (check["value"], check["limit"], check["unit"]) == (56.3, 50.0, "GB/s")
    gpu = verdict.told["figures"]["gpus"][2]
    assert gpu["uuid"].endswith("2")
    assert gpu["pci_address"] == "00000000:81:00.0"
    assert gpu["bandwidth_to_host_gigabytes_per_second"] == 57.3
    figures = verdict.told["figures"]
    assert figures["power_watts"]["GPU 3"][-1] == 561.77
    assert figures["bandwidth_to_gpu_gigabytes_per_second"]["GPU 0"] == 56.3
    assert verdict.told["versions"]["driver_kernel"] == "580.95.05"
    assert verdict.told["versions"]["torch"] == "2.13.0+simulated"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"gpu_count": "four", "gpu_memory_mib": 1}'])
def test_without_expectations_it_cannot_run(healthy: SimulatedBox, text: str) -> None:
    healthy.write("etc/cube/expectations.json", text)
    done = run(SCRIPT, accept=[2], env=healthy.environment(), timeout_s=60)
    assert "expectations.json" in done.stderr


def test_a_box_of_before_this_release_expects_no_model(healthy: SimulatedBox) -> None:
    healthy.write("etc/cube/expectations.json", '{"gpu_count": 4, "gpu_memory_mib": 32000}')
    verdict = judge(healthy)
    assert verdict.failed == set()
    assert verdict.check("GPU model")["status"] == "SKIP"
