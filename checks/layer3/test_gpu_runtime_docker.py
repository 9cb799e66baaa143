"""Docker knows the GPU runtime and CDI, and kept what layer 1 had told it."""

import json
from ipaddress import IPv4Network
from typing import Any

import pytest
from testinfra.host import Host

from checks.docker_defaults import LEAST_SHM, LOG_LIMITS, POOL, size_bytes
from cube.config import Spec


@pytest.fixture(scope="module")
def info(host: Host) -> dict[str, Any]:
    """What the engine says of itself."""
    answer: dict[str, Any] = json.loads(host.check_output("docker info --format '{{json .}}'"))
    return answer


@pytest.fixture(scope="module")
def settings(host: Host) -> dict[str, Any]:
    """What the engine is told."""
    told: dict[str, Any] = json.loads(host.check_output("cat /etc/docker/daemon.json"))
    return told


def test_engine_runs(host: Host) -> None:
    assert host.service("docker").is_running


def test_engine_accepts_its_configuration(host: Host) -> None:
    assert host.run("dockerd --validate --config-file /etc/docker/daemon.json").rc == 0


def test_engine_names_the_gpu_runtime(info: dict[str, Any]) -> None:
    assert "nvidia" in info["Runtimes"]


def test_gpu_runtime_is_a_program_that_is_there(host: Host, settings: dict[str, Any]) -> None:
    path = settings["runtimes"]["nvidia"]["path"]
    assert host.run("command -v %s", path).rc == 0


def test_engine_looks_for_devices_in_cdi_files(info: dict[str, Any]) -> None:
    assert "/var/run/cdi" in info["CDISpecDirs"]


def test_containers_still_outlive_a_restart_of_the_engine(info: dict[str, Any]) -> None:
    in_swarm = info["Swarm"]["LocalNodeState"] != "inactive"  # it does not allow this
    assert info["LiveRestoreEnabled"] is not in_swarm


def test_containers_still_get_addresses_of_ours_alone(info: dict[str, Any]) -> None:
    pools = [pool["Base"] for pool in info["DefaultAddressPools"]]
    assert pools
    assert [pool for pool in pools if not IPv4Network(pool).subnet_of(POOL)] == []


def test_containers_still_get_shared_memory_for_frameworks(settings: dict[str, Any]) -> None:
    assert size_bytes(settings.get("default-shm-size", "64m")) >= LEAST_SHM


@pytest.mark.parametrize("option", LOG_LIMITS)
def test_log_of_a_new_container_is_still_limited_by(settings: dict[str, Any], option: str) -> None:
    assert size_bytes(settings.get("log-opts", {}).get(option, "0")) > 0


@pytest.mark.parametrize("unit", ["nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service"])
def test_gpus_are_described_at_boot_by(host: Host, unit: str) -> None:
    assert host.service(unit).is_enabled


def test_describing_gpus_has_not_failed(host: Host) -> None:
    assert host.run("systemctl is-failed --quiet nvidia-cdi-refresh.service").rc != 0


def test_every_image_asked_for_is_there(host: Host, spec: Spec) -> None:
    names = [image for image in spec.stack.images if isinstance(image, str)]
    missing = [name for name in names if host.run("docker image inspect %s", name).rc != 0]
    assert missing == []


@pytest.mark.needs("gpu")
def test_gpus_are_described_to_containers(host: Host, spec: Spec) -> None:
    listed = host.check_output("nvidia-ctk cdi list")
    devices = [line for line in listed.splitlines() if line.startswith("nvidia.com/gpu=")]
    assert {f"nvidia.com/gpu={number}" for number in range(spec.gpu.count)} <= set(devices)
