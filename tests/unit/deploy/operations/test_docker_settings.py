"""Docker's settings: what is merged, what somebody else's stays, what may stand together."""

import json
from typing import Any

import pytest

from deploy.facts.docker import DockerSurroundings, Surroundings
from deploy.operations.docker_settings import faults, merge
from deploy.roles.gpu_runtime import SETTINGS as GPU
from deploy.runner.sources import file_text

RUNTIMES = {"nvidia": {"path": "nvidia-container-runtime", "args": []}}

#: What is there, what is wanted, what the role wanted before; what comes of it.
MERGES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("nothing there", {}, {"a": 1}, {}, {"a": 1}),
    ("the same", {"a": 1}, {"a": 1}, {}, {"a": 1}),
    ("others stay", {"b": 2}, {"a": 1}, {}, {"b": 2, "a": 1}),
    ("own value moves on", {"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),
    ("beside other runtimes", {"runtimes": {"kata": {}}}, {"runtimes": RUNTIMES}, {},
     {"runtimes": {"kata": {}, **RUNTIMES}}),
    ("own value inside", {"o": {"x": 1, "y": 1}}, {"o": {"x": 2}}, {"o": {"x": 1}},
     {"o": {"x": 2, "y": 1}}),
    ("a value of false is a value", {"a": False}, {"a": False}, {}, {"a": False}),
]  # fmt: skip

KEPT: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ("set by hand", {"a": 3}, {"a": 1}, {}, "a stays 3, somebody set it; 1 was wanted"),
    ("changed by hand since", {"a": 3}, {"a": 2}, {"a": 1}, "a stays 3"),
    ("inside", {"o": {"x": "9"}}, {"o": {"x": "5"}}, {}, 'o.x stays "9"'),
    ("a null by hand", {"a": None}, {"a": 1}, {}, "a stays null, somebody set it; 1 was wanted"),
    ("another kind", {"o": 1}, {"o": {"x": 1}}, {}, "o stays 1"),
]


@pytest.mark.parametrize(("current", "wanted", "before", "result"), [m[1:] for m in MERGES],
                         ids=[m[0] for m in MERGES])  # fmt: skip
def test_settings_are_added(
    current: dict[str, Any], wanted: dict[str, Any], before: dict[str, Any], result: dict[str, Any]
) -> None:
    assert merge(current, wanted, before=before) == (result, [])


@pytest.mark.parametrize(("current", "wanted", "before", "told"), [k[1:] for k in KEPT],
                         ids=[k[0] for k in KEPT])  # fmt: skip
def test_what_somebody_set_stays_and_is_told(
    current: dict[str, Any], wanted: dict[str, Any], before: dict[str, Any], told: str
) -> None:
    merged, kept = merge(current, wanted, before=before)
    assert merged == current
    assert [line[: len(told)] for line in kept] == [told]


#: What the roles want.
ROLE: dict[str, Any] = json.loads(file_text("docker/daemon.json"))
LOGS = {key: ROLE[key] for key in ("log-driver", "log-opts")}
REST = {key: value for key, value in ROLE.items() if key not in LOGS}
NO_LIVE = {key: value for key, value in ROLE.items() if key != "live-restore"}
SWARM = Surroundings(swarm=True)
NONE = Surroundings()


def flags(*names: str) -> Surroundings:
    return Surroundings(flags=frozenset(names))


#: What is there, what the role has written before, what is around; what comes of it.
TOGETHER: list[tuple[str, dict[str, Any], dict[str, Any], Surroundings, dict[str, Any]]] = [
    ("nothing there", {}, {}, NONE, ROLE),
    ("another driver", {"log-driver": "journald"}, {}, NONE, {"log-driver": "journald", **REST}),
    ("another driver with options", {"log-driver": "fluentd", "log-opts": {"tag": "x"}}, {}, NONE,
     {"log-driver": "fluentd", "log-opts": {"tag": "x"}, **REST}),
    ("another driver since", {**ROLE, "log-driver": "journald"}, ROLE, NONE,
     {"log-driver": "journald", **REST}),
    ("options of the default driver", {"log-opts": {"labels": "x"}}, {}, NONE,
     {"log-opts": {"labels": "x"}, **REST}),
    ("the same driver", {"log-driver": "local"}, {}, NONE, ROLE),
    ("an option of our driver since", {**ROLE, "log-opts": {"max-size": "9m", "max-file": "5"}},
     ROLE, NONE, {**ROLE, "log-opts": {"max-size": "9m", "max-file": "5"}}),
    ("no logs at all", {"log-driver": "none"}, {}, NONE, {"log-driver": "none", **REST}),
    ("another driver by a flag", {}, {}, flags("log-driver"), REST),
    ("options by a flag", {}, {}, flags("log-opts"), REST),
    ("a swarm", {}, {}, SWARM, NO_LIVE),
    ("a swarm since", ROLE, ROLE, SWARM, NO_LIVE),
    ("live-restore off, a swarm", {"live-restore": False}, {}, SWARM,
     {**NO_LIVE, "live-restore": False}),
    ("live-restore off", {"live-restore": False}, {}, NONE, {**NO_LIVE, "live-restore": False}),
    ("live-restore by a flag", {}, {}, flags("live-restore"), NO_LIVE),
    ("pools by a flag", {}, {}, flags("default-address-pools"),
     {key: value for key, value in ROLE.items() if key != "default-address-pools"}),
    ("pools of somebody's", {"default-address-pools": [{"base": "10.9.0.0/16", "size": 26}]}, {},
     NONE, {**ROLE, "default-address-pools": [{"base": "10.9.0.0/16", "size": 26}]}),
    ("storage elsewhere", {"data-root": "/srv/docker", "storage-driver": "zfs"}, {}, NONE,
     {"data-root": "/srv/docker", "storage-driver": "zfs", **ROLE}),
]  # fmt: skip


@pytest.mark.parametrize(("there", "before", "around", "result"), [one[1:] for one in TOGETHER],
                         ids=[one[0] for one in TOGETHER])  # fmt: skip
def test_what_may_stand_together_is_written(
    there: dict[str, Any], before: dict[str, Any], around: Surroundings, result: dict[str, Any]
) -> None:
    merged, _ = merge(there, ROLE, before=before, around=around)
    assert merged == result
    assert faults(merged, around) == []
    assert merge(merged, ROLE, before=ROLE, around=around)[0] == result


@pytest.mark.parametrize(
    ("there", "around", "told"),
    [
        ({"log-driver": "journald"}, NONE,
         'log-opts is left out, somebody set log-driver to "journald"'),
        ({}, SWARM, "live-restore is left out, a swarm does not allow it"),
        ({}, flags("default-shm-size"),
         "default-shm-size is left out, docker.service sets it by a flag"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_told(there: dict[str, Any], around: Surroundings, told: str) -> None:
    assert told in merge(there, ROLE, before={}, around=around)[1]


#: nvidia-ctk of an earlier release, and a runtime that is a plugin of containerd's.
OWNERS = [
    {"path": "/usr/bin/nvidia-container-runtime", "runtimeArgs": []},
    {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "/opt/nvidia"}},
]


@pytest.mark.parametrize("runtime", OWNERS)
def test_a_runtime_is_one_value(runtime: dict[str, Any]) -> None:
    there = {"runtimes": {"nvidia": runtime}, "features": {"containerd-snapshotter": True}}
    merged, told = merge(there, GPU, before={})
    assert merged == {
        "runtimes": {"nvidia": runtime},
        "features": {"containerd-snapshotter": True, "cdi": True},
    }
    assert [line[:22] for line in told] == ["runtimes.nvidia stays "]


@pytest.mark.parametrize(
    ("settings", "around", "told"),
    [
        ({"hosts": ["fd://"]}, flags("hosts"), "hosts is set here and by a flag"),
        ({"hosts": ["fd://"]}, Surroundings(installed=False), "hosts is set here and by a flag"),
        ({"hosts": ["fd://"]}, NONE, ""),
        ({"data-root": "/srv"}, flags("hosts", "data-root"), "data-root is set here and by a flag"),
        ({"data-root": "/srv", "storage-driver": "zfs"}, flags("hosts", "containerd"), ""),
        ({"live-restore": True}, SWARM, "live-restore is true, which a swarm does not allow"),
        ({"live-restore": False}, SWARM, ""),
        ({}, Surroundings(config="/srv/daemon.json"), "docker.service reads /srv/daemon.json"),
        ({}, Surroundings(config="/etc/docker/daemon.json"), ""),
    ],
)
def test_what_the_daemon_would_not_start_with_is_told(
    settings: dict[str, Any], around: Surroundings, told: str
) -> None:
    found = faults(settings, around)
    assert [line[: len(told)] for line in found] == ([told] if told else [])


#: Source: docker.service of Debian's docker.io and of docker-ce, as systemctl show prints it.
DEBIAN = (
    "ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd://"
    " --containerd=/run/containerd/containerd.sock $DOCKER_OPTS ; ignore_errors=no ;"
    " start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }"
)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["installed", DEBIAN], flags("hosts", "containerd")),
        (["installed", DEBIAN, '# DOCKER_OPTS="--dns 192.0.2.1"'], flags("hosts", "containerd")),
        (["installed", DEBIAN, 'DOCKER_OPTS="--log-driver=journald --log-opt tag=x"'],
         flags("hosts", "containerd", "log-driver", "log-opts")),
        (["installed", "ExecStart=", "/usr/bin/dockerd", "-s", "zfs", "--add-runtime", "a=/b"],
         flags("storage-driver", "runtimes")),
        (["installed", "dockerd --config-file /srv/a.json", "swarm"],
         Surroundings(flags=frozenset({"config-file"}), config="/srv/a.json", swarm=True)),
        (["installed", "Environment=A=b OPTIONS=--live-restore", "OTHER='-D'"],
         flags("live-restore", "debug")),
        (["ExecStart=", "Environment="], Surroundings(installed=False)),
    ],
)  # fmt: skip
def test_flags_of_the_daemon_are_read(lines: list[str], found: Surroundings) -> None:
    assert DockerSurroundings().process(lines) == found
