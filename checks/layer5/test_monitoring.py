"""A person at the box sees how it is."""

import json
from typing import Any

import pytest
from testinfra.host import Host

from cube.config import Spec


@pytest.fixture(scope="module")
def snapshot(host: Host, spec: Spec) -> dict[str, Any]:
    """What cube-top reads, as the administrator sees it."""
    told: dict[str, Any] = json.loads(
        host.check_output("su --login %s --command 'cube-top --json'", spec.admin.user)
    )
    return told


@pytest.fixture(scope="module")
def motd(host: Host) -> str:
    """What a login is greeted with. Source: update-motd(5)."""
    text: str = host.check_output("run-parts --lsbsysinit /etc/update-motd.d")
    return text


@pytest.mark.parametrize("tool", ["htop", "nvtop", "sensors", "smartctl"])
def test_tool_answers(host: Host, tool: str) -> None:
    assert host.run("%s --version", tool).rc == 0


def test_dashboard_draws_one_frame(host: Host, spec: Spec) -> None:
    frame = host.run("su --login %s --command 'cube-top --once'", spec.admin.user)
    assert frame.rc == 0, frame.stderr
    assert host.check_output("hostname") in frame.stdout


def test_dashboard_names_this_host(host: Host, snapshot: dict[str, Any]) -> None:
    assert snapshot["hostname"] == host.check_output("hostname")


def test_dashboard_names_this_kernel(host: Host, snapshot: dict[str, Any]) -> None:
    assert snapshot["kernel"] == host.check_output("uname -r")


def test_dashboard_knows_every_processor(host: Host, snapshot: dict[str, Any]) -> None:
    online = int(host.check_output("getconf _NPROCESSORS_ONLN"))
    assert len(snapshot["cpu"]["cores"]) == online


def test_dashboard_knows_the_memory(host: Host, snapshot: dict[str, Any]) -> None:
    total_kib = int(host.check_output("awk '/^MemTotal/ { print $2 }' /proc/meminfo"))
    assert snapshot["memory"]["total"] == total_kib * 1024


def test_dashboard_shows_the_root_disk(snapshot: dict[str, Any]) -> None:
    assert "/" in [disk["name"] for disk in snapshot["disks"]]


def test_dashboard_shows_every_network_card(host: Host, snapshot: dict[str, Any]) -> None:
    cards = host.check_output("ls -d /sys/class/net/en* 2>/dev/null || true").split()
    shown = {link["name"] for link in snapshot["links"]}
    assert {card.rpartition("/")[2] for card in cards} - shown == set()


@pytest.mark.needs("gpu")
def test_dashboard_shows_the_gpus(snapshot: dict[str, Any], spec: Spec) -> None:
    assert len(snapshot["gpus"]["gpus"]) == spec.gpu.count


@pytest.mark.parametrize("field", ["name", "version"])
def test_login_is_told_the_image(host: Host, motd: str, field: str) -> None:
    release = json.loads(host.file("/etc/cube/release.json").content_string)
    assert release[field] in motd


def test_login_is_told_the_health(motd: str) -> None:
    assert "health:" in motd


def test_login_shows_what_it_is_told(host: Host) -> None:
    # Source: pam_motd(8): it runs /etc/update-motd.d.
    assert host.run("grep -Eq '^[^#]*pam_motd' /etc/pam.d/sshd").rc == 0
    assert host.run("sshd -T | grep -qx 'usepam yes'").rc == 0


@pytest.mark.parametrize("layer", ["1", "5"])
def test_box_knows_that_it_has_layer(host: Host, layer: str) -> None:
    record = json.loads(host.file("/var/lib/cube/layers.json").content_string)
    assert layer in record["layers"]
