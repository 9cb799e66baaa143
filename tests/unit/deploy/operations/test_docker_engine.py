"""Whose Docker engine is there, and its file under containers: real dpkg, a fake docker."""

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra import logger
from pyinfra.api import StringCommand

from deploy.facts.docker import DAEMON, NOTED, SNAP, DockerEngines
from deploy.facts.files import KEPT
from deploy.operations import docker
from deploy.runner import allowed
from tests.unit.deploy.apt_box import stanza

#: What answers for Docker: whether it keeps containers over a restart, which run, its swarm.
DOCKER = """#!/bin/sh
case "$*" in
    *LiveRestoreEnabled*) echo "$LIVE" ;;
    *LocalNodeState*) echo "$SWARM" ;;
    "ps -q") echo "$RUN" ;;
esac
"""
#: The daemon's own check of a file, and a unit that is there, runs where RUN is set, and sets no
#: flag but in a file.
DOCKERD = "#!/bin/sh\nexit 0\n"
SYSTEMCTL = """#!/bin/sh
case "$*" in
    is-active*) [ -n "${RUN+x}" ] ;;
    *EnvironmentFiles*) [ -z "$OPTIONS" ] || echo "$OPTIONS (ignore_errors=yes)" ;;
esac
"""


@dataclass(frozen=True)
class Box:
    """A folder in the place of the machine's own."""

    root: Path

    def tool(self, name: str, text: str) -> Path:
        file = self.root / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def sh(
        self, script: str, stdin: str = "", **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        for place in (DAEMON, NOTED, KEPT, SNAP):
            script = script.replace(place, f"{self.root}{place}")
        script = script.replace("chown root:root", "true")
        env = {"PATH": f"{self.root}/bin:{os.environ['PATH']}", **variables}
        env["DPKG_ADMINDIR"] = str(self.root / "dpkg")
        return subprocess.run(
            ["sh", "-c", script], input=stdin, env=env, capture_output=True, text=True, check=False
        )

    def fact(self, kind: type, variables: dict[str, str], **arguments: str) -> Any:
        asked = kind()
        done = self.sh(asked.command(**arguments), **variables)
        lines = done.stdout.splitlines()
        return asked.process(lines) if lines else asked.default()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = Box(tmp_path)
    (tmp_path / "dpkg/info").mkdir(parents=True)
    (tmp_path / "dpkg/info/format").write_text("1\n")
    (tmp_path / "dpkg/status").write_text("")
    made.tool("systemctl", SYSTEMCTL)
    return made


def installed(box: Box, name: str, state: str = "install ok installed", program: str = "") -> None:
    """Note a package, and the program that it has brought."""
    status = box.root / "dpkg/status"
    status.write_text(f"{status.read_text()}{stanza(name)}Status: {state}\n\n")
    files = f"{program}\n" if program else "/.\n"
    (box.root / f"dpkg/info/{name}.list").write_text(files)


@pytest.mark.parametrize(
    ("name", "state", "found"),
    [
        ("docker-ce", "install ok installed", ["docker-ce"]),
        ("docker.io", "install ok installed", ["docker.io"]),
        ("docker.io", "hold ok installed", ["docker.io"]),
        ("docker.io", "install ok unpacked", ["docker.io"]),  # a run broke off
        ("docker-ce", "deinstall ok config-files", []),
        ("podman-docker", "install ok installed", ["podman-docker"]),
        ("docker-compose", "install ok installed", []),
    ],
)
def test_the_engine_is_known_by_its_package(
    box: Box, name: str, state: str, found: list[str]
) -> None:
    installed(box, name, state)
    assert box.fact(DockerEngines, {}) == found


def test_an_engine_of_no_package_is_known(box: Box) -> None:
    program = box.tool("dockerd", DOCKERD)
    assert box.fact(DockerEngines, {}) == [str(program)]
    installed(box, "docker.io", program=str(program))
    assert box.fact(DockerEngines, {}) == ["docker.io"]


def test_the_engine_of_a_snap_is_known(box: Box) -> None:
    snap = Path(f"{box.root}{SNAP}")
    snap.parent.mkdir(parents=True)
    snap.touch()
    assert box.fact(DockerEngines, {}) == [str(snap)]


def on(monkeypatch: pytest.MonkeyPatch, get_fact: Any, *harms: str) -> list[str]:
    """Let operations ask these facts and allow these harms; return what is told."""
    told: list[str] = []
    host = SimpleNamespace(get_fact=get_fact, print_prefix="", data={"allow": harms})
    monkeypatch.setattr(docker, "host", host)
    monkeypatch.setattr(allowed, "host", host)
    monkeypatch.setattr(logger, "warning", told.append)
    return told


@pytest.mark.parametrize(
    ("there", "refused"),
    [
        ([], False),
        (["docker.io"], False),
        (["docker-ce"], False),
        (["podman-docker"], True),
        (["moby-engine"], True),
        ([SNAP], True),
        (["docker.io", SNAP], True),
        (["/usr/local/bin/dockerd"], True),
    ],
)
def test_what_stands_in_dockers_place_is_refused(
    box: Box, monkeypatch: pytest.MonkeyPatch, there: list[str], *, refused: bool
) -> None:
    on(monkeypatch, lambda _: there)
    commands = list(docker.no_other_engine._inner())
    assert bool(commands) is refused
    for command in commands:
        done = box.sh(command)
        assert done.returncode == 1
        assert "in the place of Docker Engine" in done.stderr
        assert "leave the role docker out of [layers] layer1" in done.stderr


@pytest.mark.parametrize(
    ("there", "source", "kept"),
    [
        ([], "distribution", ""),
        (["docker.io"], "distribution", ""),
        (["docker-ce"], "distribution", "docker-ce"),
        (["docker.io"], "docker", "docker.io"),
        (["docker-ce"], "docker", ""),
    ],
)
def test_an_engine_from_another_source_stays_and_is_told(
    monkeypatch: pytest.MonkeyPatch, there: list[str], source: str, kept: str
) -> None:
    told = on(monkeypatch, lambda _: there)
    assert docker.kept_engine(source) == kept
    assert [line.split()[0] for line in told] == ([kept] if kept else [])


WANTED = {"live-restore": True}
ENDS = {"LIVE": "false", "RUN": "0123", "SWARM": "inactive"}


def carry_out(box: Box, commands: Iterable[StringCommand], variables: dict[str, str]) -> str:
    """Run commands until one fails; return what it has told."""
    for command in commands:
        stdin = command.connector_arguments.get("_stdin", "")
        done = box.sh(command.get_raw_value(), str(stdin), **variables)
        if done.returncode:
            return done.stderr
    return ""


def put(
    box: Box,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    *harms: str,
    there: str = "{}\n",
) -> tuple[str, str]:
    """Put settings into a file that is there; return what went wrong, and the file."""
    file = Path(f"{box.root}{DAEMON}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(there)
    file.chmod(0o600)
    box.tool("docker", DOCKER)
    box.tool("dockerd", DOCKERD)

    def get_fact(kind: type, **arguments: str) -> object:
        return box.fact(kind, variables, **arguments)

    on(monkeypatch, get_fact, *harms)
    told = carry_out(box, docker.settings._inner("docker", WANTED), variables)
    assert file.stat().st_mode & 0o777 == 0o600  # it may hold the login of a proxy
    return told, file.read_text()


@pytest.mark.parametrize(
    ("variables", "harms", "written"),
    [
        (ENDS, (), False),
        (ENDS, ("stop-containers",), True),
        ({**ENDS, "RUN": ""}, (), True),
        ({**ENDS, "LIVE": "true"}, (), True),
        ({}, (), True),  # it does not run
    ],
)
def test_the_file_is_not_written_under_containers_that_a_restart_ends(
    box: Box,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    harms: tuple[str, ...],
    *,
    written: bool,
) -> None:
    told, text = put(box, monkeypatch, variables, *harms)
    assert json.loads(text) == (WANTED if written else {})
    if not written:
        assert "would end the containers that run" in told
        assert '[apply] allow = ["stop-containers"]' in told


def test_a_swarm_gets_no_live_restore(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    told, text = put(box, monkeypatch, {**ENDS, "SWARM": "active"})
    assert (told, json.loads(text)) == ("", {})


def test_a_swarm_is_known_while_its_engine_is_off(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = box.root / "data/swarm/docker-state.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    there = json.dumps({"data-root": f"{box.root}/data"})
    told, text = put(box, monkeypatch, {}, there=there)
    assert (told, text) == ("", there)


def test_flags_in_the_units_own_file_are_seen(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    options = box.root / "default"
    options.write_text('# DOCKER_OPTS="--dns 192.0.2.1"\nDOCKER_OPTS="--live-restore"\n')
    told, text = put(box, monkeypatch, {"OPTIONS": str(options)})
    assert (told, json.loads(text)) == ("", {})


@pytest.mark.parametrize("there", ["{", "[]", '{"hosts": []}', '\ufeff{"a": 1}'])
def test_a_file_that_the_daemon_cannot_read_is_refused_and_stays(
    box: Box, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    box.tool("systemctl", "#!/bin/sh\n[ $1 = cat ] || echo 'ExecStart=/usr/bin/dockerd -H fd://'\n")
    told, text = put(box, monkeypatch, {}, there=there)
    assert told.startswith(f"{DAEMON.replace(DAEMON, str(box.root) + DAEMON)}: ")
    assert "nothing was changed" in told
    assert text == there
