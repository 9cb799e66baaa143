"""containerd without its CRI: whose settings are changed, and how."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from pyinfra import logger

from deploy.facts.containerd import MARK, Config, ContainerdConfig
from deploy.operations import containerd
from deploy.operations.files import put_atomic

#: Source: /etc/containerd/config.toml of Debian 13's containerd.
DEBIAN = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""


@pytest.mark.parametrize("text", [DEBIAN, containerd.VERSION, "[debug]\nlevel = 'info'\n"])
def test_the_cri_is_left_out_and_everything_else_stays(text: str) -> None:
    assert not containerd.closes_cri(text)
    changed = containerd.added(text)
    assert containerd.closes_cri(changed)
    data = tomllib.loads(changed)
    assert data.pop("disabled_plugins") == ["io.containerd.grpc.v1.cri"]
    assert data == tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ('disabled_plugins = ["cri"]\n', True),  # as containerd.io brings it
        ('disabled_plugins = ["io.containerd.grpc.v1.cri"]\n', True),
        ("disabled_plugins = []\n", False),
        ('disabled_plugins = ["io.containerd.snapshotter.v1.zfs"]\n', False),
        ("", False),
        ("no toml", False),
    ],
)
def test_a_cri_that_is_left_out_is_seen(text: str, closed: bool) -> None:
    assert containerd.closes_cri(text) is closed


def planned(found: Config, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the operation writes, and the warnings that it gives."""
    told: list[str] = []

    class Host:
        print_prefix = ""

        def get_fact(self, _: object, **__: object) -> Config:
            return found

        def noop(self, _: str) -> None:
            """Nothing is to be done."""

    def put(*, dest: str, content: str, validate: str, read_by: str) -> list[str]:
        assert dest == "/etc/containerd/config.toml"
        assert "containerd --config %s config dump" in validate
        assert read_by == "containerd.service"
        return [content]

    monkeypatch.setattr(containerd, "host", Host())
    monkeypatch.setattr(put_atomic, "_inner", put)
    monkeypatch.setattr(logger, "warning", told.append)
    return [*containerd.without_cri._inner(), *told]


def test_what_a_package_brought_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    (written,) = planned(Config(text=DEBIAN, of_package=True), monkeypatch)
    assert written == containerd.added(DEBIAN)


def test_where_there_is_no_file_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    (written,) = planned(Config(), monkeypatch)
    assert written == 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'


def test_what_somebody_set_stays_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = planned(Config(text=DEBIAN), monkeypatch)
    assert "/etc/containerd/config.toml stays, somebody set it" in told


def test_a_file_that_the_line_would_spoil_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    there = 'version = 2\ndisabled_plugins = ["io.containerd.snapshotter.v1.zfs"]\n'
    (told,) = planned(Config(text=there, of_package=True), monkeypatch)
    assert "/etc/containerd/config.toml stays: disabled_plugins" in told


def test_kubernetes_keeps_its_door(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = planned(Config(text=DEBIAN, of_package=True, kubernetes=True), monkeypatch)
    assert "stays: kubelet needs containerd's CRI" in told


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (["kubelet"], Config(kubernetes=True)),
        (["kubelet", "0", MARK, "version = 2"], Config(text="version = 2\n", kubernetes=True)),
    ],
)
def test_kubernetes_is_known_by_its_agent(output: list[str], found: Config) -> None:
    assert ContainerdConfig().process(output) == found


def test_nothing_is_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(Config(text=containerd.added(DEBIAN)), monkeypatch) == []


def test_a_file_is_known_by_its_packages_digest(tmp_path: Path) -> None:
    file, query = tmp_path / "config.toml", tmp_path / "dpkg-query"
    file.write_text("version = 2\n")
    digest = "b7dcdc7d2c4e2c2f7d5b0d1f6b0a5a0e"
    query.write_text(f"#!/bin/sh\nprintf '\\n {file} %s\\n /etc/other 0\\n' \"$DIGEST\"\n")
    query.chmod(0o755)
    md5 = subprocess.run(["md5sum", file], capture_output=True, text=True, check=True).stdout[:32]
    for known, of_package in ((digest, False), (md5, True), (f"{md5} obsolete", True)):
        script = ContainerdConfig().command().replace("/etc/containerd/config.toml", str(file))
        done = subprocess.run(
            ["sh", "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "DIGEST": known},
        )
        found = ContainerdConfig().process(done.stdout.splitlines())
        assert found == Config(text="version = 2\n", of_package=of_package)
