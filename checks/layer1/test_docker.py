"""Docker Engine runs containers, rotates their logs and keeps its doors shut."""

import json
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from testinfra.host import Host

from checks.docker_defaults import LEAST_SHM, LOG_LIMITS, POOL, size_bytes
from checks.layer1.network_peer import CONNECT, NETS, Stranger, connect
from cube.config import Spec

IMAGE = "cube-check"
PORT = 28082
#: An image of links only: the box's own /usr, lent to the container, is its system.
MAKE_IMAGE = f"""
set -e
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
mkdir -p usr etc tmp
for folder in bin sbin lib lib64; do ln -s usr/$folder $folder; done
tar --create . | docker import - {IMAGE}
"""
RUN = "docker run --rm --volume /usr:/usr:ro --volume /etc/alternatives:/etc/alternatives:ro"
#: Limits that any machine grants: where limits cannot be raised, the engine's own do not work.
MODEST = f"{RUN} --ulimit memlock=65536 --ulimit nofile=1024"
#: Drivers that keep logs of their own; on a host, its owner may have chosen another.
ON_DISK = {"json-file", "local"}
#: Who owns the engine's program, by docker.source.
PACKAGES = {"distribution": "docker.io", "docker": "docker-ce"}


@pytest.fixture(scope="module")
def info(host: Host) -> dict[str, Any]:
    """What the engine says of itself."""
    answer: dict[str, Any] = json.loads(host.check_output("docker info --format '{{json .}}'"))
    return answer


@pytest.fixture(scope="module")
def image(host: Host) -> Iterator[str]:
    """Return the name of an image that needs no registry; removed afterwards."""
    made = host.run("sh -c %s", MAKE_IMAGE)
    try:
        assert made.rc == 0, made.stderr
        yield IMAGE
    finally:
        host.run(f"docker image rm --force {IMAGE}")


@pytest.fixture(scope="module")
def container(host: Host, image: str) -> Iterator[dict[str, Any]]:
    """Settings of a container that publishes a web server on every address of the box."""
    name = f"{IMAGE}-web"
    server = f"python3 -m http.server --directory /tmp {PORT}"
    host.run(f"docker rm --force {name}")
    started = host.run(f"{MODEST} --detach --name {name} --publish {PORT}:{PORT} {image} {server}")
    try:
        assert started.rc == 0, started.stderr
        settings: list[dict[str, Any]] = json.loads(host.check_output(f"docker inspect {name}"))
        yield settings[0]
    finally:
        host.run(f"docker rm --force {name}")


@pytest.fixture(scope="module")
def published(host: Host, container: dict[str, Any]) -> int:  # noqa: ARG001 (it must run)
    """Port of a container that answers, seen from the box itself."""
    loop = f"for _ in $(seq 50); do python3 -c %s 127.0.0.1 {PORT} '' && exit 0; sleep 0.2; done"
    assert host.run(f"{loop} 2>/dev/null; exit 1", CONNECT).rc == 0, "the container never answers"
    return PORT


def test_docker_runs(host: Host) -> None:
    assert host.service("docker").is_running


def test_docker_starts_at_boot(host: Host) -> None:
    assert host.check_output("systemctl is-enabled docker.service") == "enabled"


def test_docker_comes_from_a_known_source(host: Host) -> None:
    """A host that somebody uses keeps its engine, whatever docker.source says."""
    owner = host.check_output("dpkg --search $(readlink -f $(command -v dockerd))")
    assert owner.split(":")[0] in PACKAGES.values()


def test_configuration_is_valid(host: Host) -> None:
    file = "/etc/docker/daemon.json"
    assert host.run("dockerd --validate --config-file %s", file).rc == 0


@pytest.mark.parametrize("plugin", ["compose", "buildx"])
def test_plugin_answers(host: Host, plugin: str) -> None:
    assert host.run("docker %s version", plugin).rc == 0


def test_admin_uses_docker_without_sudo(host: Host, spec: Spec) -> None:
    assert host.run("runuser -u %s -- docker version", spec.admin.user).rc == 0


def test_containers_outlive_a_restart_of_the_engine(info: dict[str, Any]) -> None:
    in_swarm = info["Swarm"]["LocalNodeState"] != "inactive"  # it does not allow this
    assert info["LiveRestoreEnabled"] is not in_swarm


def test_engine_uses_the_second_generation_of_cgroups(info: dict[str, Any]) -> None:
    assert info["CgroupVersion"] == "2"


def test_engine_leaves_cgroups_to_systemd(info: dict[str, Any]) -> None:
    assert info["CgroupDriver"] == "systemd"


def test_engine_listens_to_no_network(host: Host) -> None:
    sockets = host.check_output("ss --tcp --listening --processes --numeric --no-header")
    assert [line for line in sockets.splitlines() if '"dockerd"' in line] == []


def test_containerd_listens_to_no_network(host: Host) -> None:
    sockets = host.check_output("ss --tcp --listening --processes --numeric --no-header")
    assert [line for line in sockets.splitlines() if '"containerd"' in line] == []


def test_a_container_that_crashes_leaves_no_memory_behind(host: Host, image: str) -> None:
    assert host.check_output(f"{MODEST} {image} sh -c 'ulimit -Sc'") == "0"


def test_a_container_may_be_allowed_to_leave_its_memory(host: Host, image: str) -> None:
    assert host.check_output(f"{MODEST} --ulimit core=-1 {image} sh -c 'ulimit -Sc'") == "unlimited"


def test_engine_is_closed_to_other_users(host: Host) -> None:
    assert host.file("/run/docker.sock").mode & 0o007 == 0


def test_a_container_runs(host: Host, image: str) -> None:
    assert host.check_output(f"{MODEST} {image} echo it-runs") == "it-runs"


@pytest.mark.needs("limits")
def test_a_container_may_lock_all_memory(host: Host, image: str) -> None:
    assert host.check_output(f"{RUN} {image} sh -c 'ulimit -l'") == "unlimited"


@pytest.mark.needs("limits")
def test_a_container_may_open_many_files_but_not_a_billion(host: Host, image: str) -> None:
    # Programs that close every possible descriptor would try each of them.
    assert 65536 <= int(host.check_output(f"{RUN} {image} sh -c 'ulimit -Hn'")) <= 1 << 20


def test_a_container_gets_an_address_of_ours(container: dict[str, Any]) -> None:
    address = container["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert ip_address(address) in POOL


def test_a_container_has_shared_memory_for_frameworks(container: dict[str, Any]) -> None:
    assert container["HostConfig"]["ShmSize"] >= LEAST_SHM


@pytest.mark.parametrize("option", LOG_LIMITS)
def test_log_of_a_new_container_is_limited_by(container: dict[str, Any], option: str) -> None:
    logs = container["HostConfig"]["LogConfig"]
    assert logs["Type"] not in ON_DISK or size_bytes(logs["Config"].get(option, "0")) > 0


@pytest.mark.parametrize("net", NETS)
def test_published_port_is_not_reached_from_the(
    stranger: Stranger, published: int, net: str
) -> None:
    assert not stranger.reaches(NETS[net].box, published)


def test_published_port_is_reached_from_the_box_itself(host: Host, published: int) -> None:
    assert connect(host, "127.0.0.1", published).rc == 0


def test_a_container_reaches_the_outside(host: Host, image: str, outside: int) -> None:
    script = (
        f"import socket; socket.create_connection(('{NETS['internet'].stranger}', {outside}), 5)"
    )
    assert host.run(f"{MODEST} {image} python3 -c %s", script).stderr == ""


def test_containers_reach_each_other(
    host: Host, image: str, container: dict[str, Any], published: int
) -> None:
    address = container["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    script = f"import socket; socket.create_connection(('{address}', {published}), 5)"
    assert host.run(f"{MODEST} {image} python3 -c %s", script).stderr == ""
