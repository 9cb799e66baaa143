"""validate-gpus.sh before a fake nvidia-smi and a simulated PCI bus."""

import pytest

from .conftest import Box, failed, statuses


@pytest.fixture
def gpus(box: Box) -> Box:
    box.plug_gpus(4)
    box.fake("journalctl", "systemd[1]: Started something.")
    return box


def test_four_healthy_gpus_pass(gpus: Box) -> None:
    code, data = gpus.judge("validate-gpus.sh")
    assert code == 0
    assert failed(data) == []
    assert data["evidence"] == "simulated"
    assert statuses(data)["GPU 3 link"] == "OK"


def test_not_applicable_is_not_zero(gpus: Box) -> None:
    _, data = gpus.judge("validate-gpus.sh")
    assert statuses(data)["GPU 0 memory errors"] == "SKIP"


@pytest.mark.parametrize(
    ("scenario", "names"),
    [
        ("three", ["GPUs that the driver sees"]),
        ("lost", ["GPU 3"]),
        ("no_driver", ["driver answers"]),
        ("no_library", ["driver answers"]),
        ("na", ["GPU 3 temperature"]),
        ("x8", ["GPU 3 link"]),
        ("slow_slot", ["GPU 3 link"]),
        ("hot", ["GPU 3 temperature"]),
        ("small", ["GPU 3 memory"]),
        ("old_driver", ["GPU 3 driver"]),
        ("no_persistence", ["GPU 3 persistence"]),
        ("ecc", ["GPU 3 memory errors"]),
        ("hang", ["driver answers"]),
    ],
)
def test_a_sick_gpu_is_found_and_named(gpus: Box, scenario: str, names: list[str]) -> None:
    code, data = gpus.judge("validate-gpus.sh", SMI_SCENARIO=scenario, CUBE_LIMIT_S="2")
    assert code == 1
    assert failed(data) == names


@pytest.mark.parametrize("scenario", ["loaded", "no_new_fields"])
def test_load_and_an_old_field_list_are_no_fault(gpus: Box, scenario: str) -> None:
    code, data = gpus.judge("validate-gpus.sh", SMI_SCENARIO=scenario)
    assert failed(data) == []
    assert code == 0


def test_without_a_gpu_it_does_not_run(box: Box) -> None:
    box.plug_gpus(0)
    code, data = box.judge("validate-gpus.sh")
    assert code == 77
    assert data["outcome"] == "not_run"
    assert "NOT RUN" in box.run("validate-gpus.sh").stdout


def test_a_gpu_missing_from_the_bus_is_found(gpus: Box) -> None:
    (gpus.root / "sys/bus/pci/devices/0000:03:00.0/vendor").unlink()
    assert "GPUs on the PCI bus" in failed(gpus.judge("validate-gpus.sh")[1])


def test_a_missing_driver_is_a_failure(gpus: Box) -> None:
    gpus.fake("nvidia-smi", "command not found", code=127)
    code, data = gpus.judge("validate-gpus.sh")
    assert code == 1
    assert "not installed" in str(data["checks"])


@pytest.mark.parametrize("text", ["", "{}", '{"gpu_count": "four", "gpu_memory_mib": 1}'])
def test_without_expectations_it_cannot_run(gpus: Box, text: str) -> None:
    gpus.write("etc/cube/expectations.json", text)
    done = gpus.run("validate-gpus.sh")
    assert done.returncode == 2
    assert "expectations.json" in done.stderr


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (
            "NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU is off.",
            "restart the machine",
        ),
        ("NVRM: GPU at PCI:0000:01:00: GPU has fallen off the bus.", "restart the machine"),
        ("NVRM: Xid (PCI:0000:41:00): 119, pid=988, Timeout waiting for RPC", "reset the GPU"),
        ("NVRM: Xid (PCI:0000:41:00): 54, pid=988, power", "check the power cables"),
        ("NVRM: Xid (PCI:0000:41:00): 13, pid=988, Graphics Exception", "look at the application"),
    ],
)
def test_an_xid_since_the_boot_fails_with_its_remedy(gpus: Box, line: str, advice: str) -> None:
    gpus.fake("journalctl", f"one\n{line}\ntwo")
    code, data = gpus.judge("validate-gpus.sh")
    assert code == 1
    assert failed(data) == ["kernel log"]
    assert advice in next(i["detail"] for i in data["checks"] if i["name"] == "kernel log")
