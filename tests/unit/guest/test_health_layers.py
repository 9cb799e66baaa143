"""health-check-layer2.sh to -layer5.sh over a simulated machine."""

import os
import time

import pytest

from .conftest import MONITORING, PROJECT, Box, failed, statuses

NVCC = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 13.0, V13.0.88"


@pytest.fixture
def layer2(box: Box) -> Box:
    box.install(2)
    box.plug_gpus(4)
    box.fake("modinfo", "580.95.05")
    box.fake("systemctl", "active")
    box.fake("systemd-detect-virt", "none", code=1)
    box.fake("mokutil", "SecureBoot disabled")
    box.fake("nvcc", NVCC)
    box.write("sys/module/nvidia/version", "580.95.05\n")
    return box


def judge2(box: Box, **more: str) -> dict[str, str]:
    return statuses(box.judge("health-check-layer2.sh", **more)[1])


def test_layer2_passes(layer2: Box) -> None:
    code, data = layer2.judge("health-check-layer2.sh")
    assert code == 0
    assert set(statuses(data).values()) == {"OK"}


def test_layer2_without_a_gpu_leaves_out_what_needs_one(layer2: Box) -> None:
    (layer2.root / "sys").rename(layer2.root / "gone")
    code, data = layer2.judge("health-check-layer2.sh")
    assert code == 0
    skipped = [name for name, status in statuses(data).items() if status == "SKIP"]
    assert skipped == [
        "running driver is the installed one",
        "driver answers",
        "persistence daemon",
    ]


def test_layer2_finds_nouveau(layer2: Box) -> None:
    layer2.write("proc/modules", "nouveau 3670016 0 - Live 0x0\n")
    assert failed(layer2.judge("health-check-layer2.sh")[1]) == ["nouveau absent"]


def test_layer2_finds_a_driver_that_does_not_answer(layer2: Box) -> None:
    _, data = layer2.judge("health-check-layer2.sh", SMI_SCENARIO="no_driver")
    assert failed(data) == ["driver answers"]


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("no_driver", "is not loaded (exit code 9): sudo modprobe nvidia"),
        ("inforom", "0000:03:00.0 NVIDIA GeForce RTX 5090: its infoROM is corrupted: if it stays"),
        ("lost", "lost: the driver cannot reach it: restart the machine"),
    ],
)
def test_layer2_names_the_gpu_the_reason_and_the_remedy(
    layer2: Box, scenario: str, says: str
) -> None:
    _, data = layer2.judge("health-check-layer2.sh", SMI_SCENARIO=scenario)
    assert failed(data) == ["driver answers"]
    assert says in next(one["detail"] for one in data["checks"] if one["status"] == "FAIL")


def test_layer2_knows_the_name_that_debian_gives_the_module(layer2: Box) -> None:
    layer2.fake_script("modinfo", "[[ $3 == nvidia-current-open ]] && echo 580.95.05")
    assert judge2(layer2)["driver module for this kernel"] == "OK"


def test_layer2_finds_a_kernel_without_the_module(layer2: Box) -> None:
    layer2.fake("modinfo", "modinfo: ERROR: Module nvidia not found.", code=1)
    assert failed(layer2.judge("health-check-layer2.sh")[1]) == ["driver module for this kernel"]


def test_layer2_judges_no_module_by_a_container_hosts_kernel(layer2: Box) -> None:
    layer2.fake("systemd-detect-virt", "systemd-nspawn")
    layer2.fake("modinfo", "", code=1)
    assert judge2(layer2)["driver module for this kernel"] == "SKIP"


def test_layer2_finds_a_driver_that_waits_for_a_restart(layer2: Box) -> None:
    layer2.write("sys/module/nvidia/version", "570.86.16\n")
    found = failed(layer2.judge("health-check-layer2.sh")[1])
    assert found == ["running driver is the installed one"]


def test_layer2_says_when_secure_boot_keeps_the_driver_out(layer2: Box) -> None:
    layer2.fake("mokutil", "SecureBoot enabled")
    assert judge2(layer2)["Secure Boot lets the driver in"] == "OK"
    (layer2.root / "sys/module").rename(layer2.root / "gone")
    assert failed(layer2.judge("health-check-layer2.sh")[1]) == ["Secure Boot lets the driver in"]


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        ("the key waits for a person at the console", 1, "not loaded: the key waits for a person"),
        ("the key of this machine is enrolled", 0, "not loaded: the key of this machine is enr"),
        ("command not found", 127, "signed by the distribution: see /etc/cube/secure-boot.txt"),
        ("Traceback", 2, "cube-secure-boot: exit code 2: Traceback; see /etc/cube/secure-boot.txt"),
    ],
)
def test_layer2_says_how_it_stands_with_the_key(
    layer2: Box, said: str, code: int, expected: str
) -> None:
    layer2.fake("mokutil", "SecureBoot enabled")
    layer2.fake("cube-secure-boot", said, code=code)
    (layer2.root / "sys/module").rename(layer2.root / "gone")
    (check,) = [
        check
        for check in layer2.judge("health-check-layer2.sh")[1]["checks"]
        if check["name"] == "Secure Boot lets the driver in"
    ]
    assert check["status"] == "FAIL"
    assert expected in check["detail"]


def test_layer2_is_content_where_shim_does_not_validate(layer2: Box) -> None:
    layer2.fake("mokutil", "SecureBoot enabled\nSecureBoot validation is disabled in shim")
    (layer2.root / "sys/module").rename(layer2.root / "gone")
    assert judge2(layer2)["Secure Boot lets the driver in"] == "OK"


def test_layer2_finds_a_compiler_that_is_missing(layer2: Box) -> None:
    layer2.fake("nvcc", "", code=127)
    assert failed(layer2.judge("health-check-layer2.sh")[1]) == ["CUDA compiler"]


@pytest.fixture
def layer3(box: Box) -> Box:
    """A box on which all of layer 3 is right."""
    box.install(3)
    box.fake("nvidia-ctk", "NVIDIA Container Toolkit CLI version 1.20.0")
    box.fake("docker", '{"nvidia":{"path":"nvidia-container-runtime"},"runc":{"path":"runc"}}')
    box.fake("dockerd", "configuration OK")
    box.fake("apt-mark", "nvidia-container-toolkit\nnvidia-container-toolkit-base")
    box.fake("systemctl", "inactive", code=1)
    return box


def test_layer3_passes(layer3: Box) -> None:
    code, data = layer3.judge("health-check-layer3.sh")
    assert (code, failed(data), data["evidence"]) == (0, [], "simulated")


@pytest.mark.parametrize(
    ("program", "output", "code", "name"),
    [
        ("nvidia-ctk", "not found", 127, "container toolkit"),
        ("apt-mark", "", 0, "toolkit is held"),
        ("dockerd", "unable to configure the Docker daemon", 1, "docker's settings"),
        ("docker", '{"runc":{"path":"runc"}}', 0, "docker knows the GPU runtime"),
        ("systemctl", "failed", 0, "GPUs are described to containers"),
    ],
)
def test_layer3_finds_its_fault_and_no_other(
    layer3: Box, program: str, output: str, code: int, name: str
) -> None:
    layer3.fake(program, output, code=code)
    assert failed(layer3.judge("health-check-layer3.sh")[1]) == [name]


@pytest.fixture
def layer4(box: Box) -> Box:
    """Two environments whose Python says what it was asked to import."""
    box.install(4)
    for name in ("pytorch", "vllm"):
        python = box.write(f"opt/cube/venvs/{name}/bin/python", '#!/bin/sh\necho "$3"\n')
        python.chmod(0o755)
        box.write(f"opt/cube/venvs/{name}/requirements.txt", "torch==2.13.0\n")
    launcher = (PROJECT / "deploy/files/frameworks/cube-python").read_text()
    box.fake_script("cube-python", launcher)
    return box


def test_layer4_passes(layer4: Box) -> None:
    code, data = layer4.judge("health-check-layer4.sh")
    assert (code, list(statuses(data))) == (0, ["pytorch starts", "vllm starts"])
    assert data["checks"][0]["detail"].startswith("import torch; ")


def test_layer4_finds_that_there_is_no_environment(box: Box) -> None:
    box.install(4)
    assert failed(box.judge("health-check-layer4.sh")[1]) == ["frameworks"]


def test_layer4_finds_a_framework_that_does_not_start(layer4: Box) -> None:
    python = layer4.root / "opt/cube/venvs/pytorch/bin/python"
    python.write_text("#!/bin/sh\necho 'ImportError: libcudnn.so.9' >&2; exit 1\n")
    _, data = layer4.judge("health-check-layer4.sh")
    assert failed(data) == ["pytorch starts"]
    assert "exit code 1: ImportError: libcudnn.so.9" in data["checks"][0]["detail"]


def test_layer4_finds_an_environment_that_is_not_whole(layer4: Box) -> None:
    (layer4.root / "opt/cube/venvs/vllm/requirements.txt").unlink()
    assert failed(layer4.judge("health-check-layer4.sh")[1]) == ["vllm starts"]


@pytest.fixture
def layer5(box: Box) -> Box:
    box.install(5)
    for program in ("htop", "nvtop", "cube-top"):
        box.fake(program, f"{program} 3.4.1")
    box.fake_script(
        "systemctl", '[[ $2 == cube-health.service ]] && echo "${SERVICE:-inactive}" || echo active'
    )
    box.fake("systemd-detect-virt", "none", code=1)
    box.write_json("etc/cube/release.json", {"name": "vault-cube", "version": "0.1.0"})
    box.write_json("var/lib/cube/health.json", {"outcome": "pass", "summary": "all well"})
    line = box.write("etc/update-motd.d/60-cube", (MONITORING / "60-cube").read_text())
    line.chmod(0o755)
    return box


def test_layer5_passes(layer5: Box) -> None:
    code, data = layer5.judge("health-check-layer5.sh")
    assert (code, failed(data)) == (0, [])


@pytest.mark.parametrize("program", ["htop", "nvtop", "cube-top"])
def test_layer5_finds_a_broken_program(layer5: Box, program: str) -> None:
    layer5.fake(program, "Traceback", code=1)
    assert failed(layer5.judge("health-check-layer5.sh")[1]) == [program]


def test_layer5_finds_disks_that_nobody_watches(layer5: Box) -> None:
    layer5.fake_script("systemctl", "[[ $2 == smart* ]] && echo inactive || echo active")
    assert failed(layer5.judge("health-check-layer5.sh")[1]) == ["disks watched"]
    layer5.fake("systemd-detect-virt", "kvm")
    assert failed(layer5.judge("health-check-layer5.sh")[1]) == []


@pytest.mark.parametrize("file", ["release", "expectations"])
def test_layer5_finds_a_damaged_state_file(layer5: Box, file: str) -> None:
    layer5.write(f"etc/cube/{file}.json", '{"name": "vault-')
    assert failed(layer5.judge("health-check-layer5.sh")[1]) == [file]


def test_layer5_finds_a_stopped_timer(layer5: Box) -> None:
    layer5.fake_script("systemctl", "[[ $2 == cube-health* ]] && echo inactive || echo active")
    assert failed(layer5.judge("health-check-layer5.sh")[1]) == ["timer"]


def make_stale(box: Box) -> None:
    then = time.time() - 7200
    os.utime(box.root / "var/lib/cube/health.json", (then, then))


@pytest.mark.parametrize("missing", [True, False])
def test_layer5_finds_a_stale_result(layer5: Box, missing: bool) -> None:
    make_stale(layer5)
    if missing:
        (layer5.root / "var/lib/cube/health.json").unlink()
    assert failed(layer5.judge("health-check-layer5.sh")[1]) == ["last result fresh"]


def test_layer5_finds_a_result_from_before_the_clock_was_set_back(layer5: Box) -> None:
    then = time.time() + 7200
    os.utime(layer5.root / "var/lib/cube/health.json", (then, then))
    _, data = layer5.judge("health-check-layer5.sh")
    (row,) = [one for one in data["checks"] if one["name"] == "last result fresh"]
    assert row["status"] == "FAIL"
    assert "in the future: the clock was set back" in row["detail"]


def test_a_stale_result_is_no_fault_just_after_a_boot(layer5: Box) -> None:
    make_stale(layer5)
    layer5.fake("ps", "     60")
    code, data = layer5.judge("health-check-layer5.sh")
    assert code == 0
    assert statuses(data)["last result fresh"] == "SKIP"


def test_a_stale_result_is_no_fault_while_the_next_is_made(layer5: Box) -> None:
    make_stale(layer5)
    code, data = layer5.judge("health-check-layer5.sh", SERVICE="activating")
    assert code == 0
    assert statuses(data)["last result fresh"] == "SKIP"
