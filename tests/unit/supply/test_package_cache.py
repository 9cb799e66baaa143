"""The cache of packages: what a build makes of cube.toml, of a machine and of a failure."""

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cube import config
from cube.baseimage.debian import bootstrap
from cube.config.workspace import Workspace
from cube.runtime import log
from cube.runtime.errors import CommandError, PackerError
from cube.supply import apt_cache, package_cache
from cube.supply.package_cache import PackageCache


def a_spec(folder: Path, network: str = "", build: str = "") -> config.Spec:
    text = f"[network]\n{network}\n[build]\n{build}\n"
    return config.load_text(text, folder / "cube.toml")


def opened(found: config.Spec) -> tuple[PackageCache | None, list[str]]:
    heard: list[str] = []
    with (
        log.listening(lambda event: heard.append(f"{event.kind}: {event.text}")),
        package_cache.opened(found, Workspace.of(found)) as cache,
    ):
        return cache, heard


@pytest.mark.parametrize("value", ["on", "", "https://cache:3142", "cache:3142", "http://"])
def test_a_cache_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(Exception, match="package_cache"):
        a_spec(tmp_path, f'package_cache = "{value}"')


def test_off_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_cache, "answers", lambda _: pytest.fail("asked"))
    assert opened(a_spec(tmp_path, 'package_cache = "off"')) == (None, [])


def test_a_cache_that_does_not_answer_is_told_and_done_without(tmp_path: Path) -> None:
    cache, heard = opened(a_spec(tmp_path, 'package_cache = "http://127.0.0.1:1"'))
    assert cache is None
    assert heard == [
        "warning: network.package_cache: http://127.0.0.1:1 does not answer;"
        " the build continues without it"
    ]


def test_a_service_that_runs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_cache, "answers", lambda _: True)
    monkeypatch.setattr(apt_cache, "is_cacher", lambda _: True)
    cache, _ = opened(a_spec(tmp_path))
    assert cache == PackageCache(url="http://127.0.0.1:3142", guest_url="http://10.0.2.2:3142")


@pytest.mark.parametrize(
    ("network", "fits"),
    [
        ("", True),
        ('apt_mirror = "http://mirror.example/debian"', True),
        ('apt_mirror = "http://mirror.example:80/debian"', True),
        ('apt_mirror = "https://mirror.example:8443/debian"', True),
        ('apt_mirror = "http://mirror.example:8080/debian"', False),
        ('apt_security_mirror = "http://mirror.example:8080/debian"', False),
        ('proxy = "http://proxy.example:3128"', False),
    ],
)
def test_a_service_of_others_is_used_where_it_leads_to_the_mirrors(
    tmp_path: Path, network: str, fits: bool
) -> None:
    assert package_cache.service_fits(a_spec(tmp_path, network)) is fits


def test_without_the_program_the_build_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_cache, "SERVICE", "http://127.0.0.1:1")
    monkeypatch.setattr(apt_cache, "program", lambda: "no-such-program")
    monkeypatch.setattr(apt_cache, "START_S", 2.0)
    cache, heard = opened(a_spec(tmp_path))
    assert cache is None
    assert any(line.startswith("info: no cache of packages: ") for line in heard)


def test_a_disk_without_room_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt_cache, "FREE_BYTES", 2**62)
    with pytest.raises(CommandError, match="GiB are free"), apt_cache.started("", tmp_path):
        pytest.fail("it was started")


@pytest.mark.parametrize(
    ("url", "uri", "seen"),
    [
        ("http://127.0.0.1:20001", "qemu:///embed", "http://10.0.2.2:20001"),
        ("http://localhost", "qemu:///system", "http://10.0.2.2:80"),
        ("http://cache.example:3142", "qemu:///embed", "http://cache.example:3142"),
        ("http://127.0.0.1:20001", "qemu+ssh://root@far.example/system", ""),
        ("http://cache.example:3142", "qemu+ssh://far.example/system", "http://cache.example:3142"),
    ],
)
def test_a_guest_reaches_it_through_its_gateway(
    tmp_path: Path, url: str, uri: str, seen: str
) -> None:
    found = a_spec(tmp_path, build=f'libvirt_uri = "{uri}"')
    assert package_cache.guest_url(found, url) == seen


def test_the_script_says_nothing_when_nobody_answers(tmp_path: Path) -> None:
    file = tmp_path / "script"
    file.write_text(package_cache.script("http://127.0.0.1:1"))
    done = subprocess.run(["bash", file], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("http://mirror.example/debian/dists/x", True),
        ("http://mirror.example:8080/debian/", True),
        ("http://mirror.example:40000/debian/", False),
        ("http://10.0.2.2:8080/stand-ins/", False),
        ("http://localhost/debian/", False),
    ],
)
def test_the_script_knows_what_the_cache_cannot_reach(
    tmp_path: Path, asked: str, said: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        file = tmp_path / "script"
        file.write_text(package_cache.script(url))
        done = subprocess.run(["bash", file, asked], capture_output=True, text=True, check=True)
    assert done.stdout == (f"{url}\n" if said else "")
    assert not done.stderr


def test_a_mirror_with_a_large_port_is_not_for_the_cache() -> None:
    assert package_cache.carries("")
    assert package_cache.carries("http://mirror.example:8080/debian")
    assert not package_cache.carries("http://mirror.example:40000/debian")


def test_the_seal_and_the_checks_find_what_lies_on_a_guest() -> None:
    assert "cube-build" in Path(package_cache.SETTING).name
    assert "cube-build" in Path(package_cache.SCRIPT).name


def test_its_settings_are_for_loopback_and_for_nobody_elses_eyes(tmp_path: Path) -> None:
    apt_cache.write_settings(tmp_path, 20001, "http://me:secret@proxy:3128")
    file = tmp_path / "acng.conf"
    lines = file.read_text().splitlines()
    assert {"BindAddress: 127.0.0.1", "Port: 20001", "SocketPath:"} < set(lines)
    assert lines[-1] == "Proxy: http://me:secret@proxy:3128"
    assert file.stat().st_mode & 0o777 == 0o600


def test_its_settings_are_in_a_plain_path_that_nobody_else_reads(tmp_path: Path) -> None:
    folder = tmp_path / "it's 100% new"
    folder.mkdir()
    with apt_cache.settings_folder(folder) as place:
        assert not set(str(place)) & set("'\" %")
        assert place.stat().st_mode & 0o777 == 0o700
        assert (place / "files").resolve() == folder / "files"
    assert not place.exists()


def test_a_proxy_of_cube_toml_goes_before_that_of_apt() -> None:
    assert apt_cache.upstream("http://proxy:3128") == "http://proxy:3128"


def test_what_was_distrusted_or_not_wanted_for_long_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "files" / "some.deb"
    file.parent.mkdir()
    file.touch()
    apt_cache.clear(tmp_path)
    assert file.exists()
    monkeypatch.setattr(apt_cache, "KEEP_S", -60)  # the time of a change cannot be set
    apt_cache.clear(tmp_path)
    assert not file.exists()
    PackageCache(url="", guest_url="", folder=tmp_path).distrust()
    apt_cache.clear(tmp_path)
    assert not file.parent.exists()
    assert not (tmp_path / "distrusted").exists()


def test_the_traffic_is_read_from_its_log() -> None:
    text = "1|I|10|127.0.0.1|a\n1|O|12|127.0.0.1|a\n2|O|12|127.0.0.1|a\nbroken\n3|E|1|x|y\n"
    assert apt_cache.traffic(text) == (10, 24)


@pytest.mark.parametrize(
    ("details", "guilty"),
    [("E: Failed to fetch http://x Hash Sum mismatch", True), ("E: dpkg was interrupted", False)],
)
def test_a_cache_is_suspected_for_what_it_gives(details: str, guilty: bool) -> None:
    assert package_cache.suspect(PackerError("failed", details=details)) == guilty


def test_a_tree_is_tried_again_without_a_cache_that_spoils_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def make(_spec: Any, _tree: Path, *, cache: str = "") -> None:
        tried.append(cache)
        if cache:
            raise PackerError("failed", details="E: Hash Sum mismatch")

    monkeypatch.setattr(bootstrap, "make_tree", make)
    ours = PackageCache(url="http://127.0.0.1:20001", guest_url="", folder=tmp_path)
    bootstrap.make_cached_tree(a_spec(tmp_path), tmp_path / "tree", ours)
    assert tried == ["http://127.0.0.1:20001", ""]
    assert (tmp_path / "distrusted").exists()
