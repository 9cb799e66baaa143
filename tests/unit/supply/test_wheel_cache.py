"""The cache of wheels: how a build starts it, what it makes of cube.toml and of a failure."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from cube import config
from cube.config.workspace import Workspace
from cube.runtime import log, run
from cube.runtime.errors import CommandError, ProvisionError
from cube.runtime.run import Completed
from cube.supply import apt_cache, index_process, wheel_cache
from cube.supply.wheel_cache import WheelCache
from tests import processes
from tests.unit.supply.wheel_index.origin import WHEEL, Origin, running, sha256

PROJECT = Path(__file__).parents[3]
#: Seconds for the index to end after its owner.
END_S = 20


@pytest.fixture
def far() -> Iterator[tuple[str, type[Origin]]]:
    origin = type("Bound", (Origin,), {"asked": Counter()})
    with running(ThreadingHTTPServer(("127.0.0.1", 0), origin)) as url:
        yield url, origin


def a_spec(folder: Path, network: str = "", build: str = "") -> config.Spec:
    text = f'[network]\n{network}\n[build]\ndir = "{folder}/build"\n{build}\n'
    return config.load_text(text, folder / "cube.toml")


def opened(found: config.Spec) -> tuple[WheelCache | None, list[str]]:
    heard: list[str] = []
    with (
        log.listening(lambda event: heard.append(f"{event.kind}: {event.text}")),
        wheel_cache.opened(found, Workspace.of(found)) as cache,
    ):
        return cache, [line for line in heard if not line.startswith("debug")]


def get(url: str) -> bytes:
    with build_opener(ProxyHandler({})).open(url, timeout=20) as answer:
        data: bytes = answer.read()
    return data


def wait_for_traffic(url: str, expected: tuple[int, int]) -> None:
    """It counts a block when it has sent it: whoever has the last one may ask before."""
    deadline = time.monotonic() + END_S
    while index_process.traffic(url) != expected:
        assert time.monotonic() < deadline, index_process.traffic(url)
        time.sleep(0.01)


def answers(url: str) -> bool:
    try:
        index_process.traffic(url)
    except OSError:
        return False
    return True


def test_a_wheel_is_fetched_once_for_two_builds(
    tmp_path: Path, far: tuple[str, type[Origin]]
) -> None:
    index, origin = far
    for fetched in (len(WHEEL), 0):
        with index_process.started(f"{index}/simple", tmp_path) as url:
            get(f"{url}/simple/some-package/")
            assert get(f"{url}/files/{sha256(WHEEL)}/x.whl") == WHEEL
            wait_for_traffic(url, (fetched, len(WHEEL)))
        assert not answers(url)
    assert origin.asked["/deep/w.whl"] == 1


def test_it_ends_with_a_build_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from cube.supply import index_process\n"
        "with index_process.started('http://127.0.0.1:1', Path(sys.argv[1])) as url:\n"
        "    print(url, flush=True); time.sleep(99)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert answers(url)
        os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + END_S
    while answers(url):
        assert time.monotonic() < deadline, f"{url} still answers"
        time.sleep(0.05)


def test_two_builds_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        index_process.started("http://127.0.0.1:1", tmp_path),
        pytest.raises(CommandError, match="another build uses"),
        index_process.started("http://127.0.0.1:1", tmp_path),
    ):
        pytest.fail("it was started")


def test_a_login_is_not_in_its_argv(tmp_path: Path) -> None:
    with index_process.started("http://ada:secret@127.0.0.1:1", tmp_path):
        argvs = [" ".join(words) for _, words in processes.running()]
    assert not any("ada:secret@" in argv for argv in argvs)


def test_machines_reach_it_through_their_gateway(
    tmp_path: Path, far: tuple[str, type[Origin]]
) -> None:
    more = 'proxy = "http://127.0.0.1:1"'  # none leads to loopback
    cache, heard = opened(a_spec(tmp_path, f'pypi_index = "{far[0]}/simple"\n{more}'))
    assert cache is not None
    assert cache.index.startswith("http://10.0.2.2:")
    assert cache.index.endswith("/simple")
    assert cache.folder == tmp_path / "build/cache/wheels"
    assert heard == []


@pytest.mark.parametrize("down", [500, 503])
def test_an_index_that_this_machine_cannot_read_is_done_without(
    tmp_path: Path, far: tuple[str, type[Origin]], down: int
) -> None:
    far[1].down = down
    cache, heard = opened(a_spec(tmp_path, f'pypi_index = "{far[0]}/simple"'))
    assert cache is None
    assert heard == [
        "info: no cache of wheels: this machine cannot read the package index;"
        " the build continues without it"
    ]


def test_pages_that_were_kept_are_enough(
    tmp_path: Path, far: tuple[str, type[Origin]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_process, "SAMPLE", "some-package")
    found = a_spec(tmp_path, f'pypi_index = "{far[0]}/simple"')
    assert opened(found)[0] is not None
    far[1].down = 503
    assert opened(found)[0] is not None


def test_off_starts_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_process, "started", lambda *_, **__: pytest.fail("started"))
    assert opened(a_spec(tmp_path, 'package_cache = "off"')) == (None, [])


def test_machines_on_another_host_have_none(tmp_path: Path) -> None:
    cache, heard = opened(a_spec(tmp_path, build='libvirt_uri = "qemu+ssh://far.example/system"'))
    assert cache is None
    assert heard == [
        "info: no cache of wheels: machines are on another host; the build continues without it"
    ]


def test_one_that_does_not_start_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    cache, heard = opened(a_spec(tmp_path, 'pypi_index = "http://127.0.0.1:1/simple"'))
    assert cache is None
    assert len(heard) == 1
    assert "it does not start" in heard[0]
    assert heard[0].endswith("the build continues without it")


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "build").touch()
    assert opened(a_spec(tmp_path, 'pypi_index = "http://127.0.0.1:1/simple"'))[0] is None


@pytest.mark.parametrize(
    ("told", "index"),
    [
        ("", ""),
        ("global.index-url='http://a.example/simple'\n", "http://a.example/simple"),
        ("global.index-url='http://a.example'\n:env:.index-url='http://b.example?x=1'\n",
         "http://b.example?x=1"),
        ("global.index-url='http://a.example'\ninstall.index-url='http://b.example'\n",
         "http://b.example"),
        ("global.index-url=broken'\nglobal.timeout='1'\n", ""),
    ],
)  # fmt: skip
def test_the_index_of_this_machines_pip_is_found(
    told: str, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Completed(returncode=0, stdout=told, stderr="")
    monkeypatch.setattr(run, "run", lambda *_, **__: done)
    monkeypatch.setattr(wheel_cache, "public_index", lambda: "http://public.example/simple")
    assert wheel_cache.pip_index() == index
    assert wheel_cache.upstream("") == (index or "http://public.example/simple")
    assert wheel_cache.upstream("http://mine.example/simple") == "http://mine.example/simple"


def test_an_index_on_this_machine_is_reached_by_loopback() -> None:
    found = wheel_cache.upstream("http://me:x@10.0.2.2:8000/simple")
    assert found == "http://me:x@127.0.0.1:8000/simple"


UV = """error: Failed to download `some-package==1.0+cpu`
  cause: Failed to extract archive: some_package-1.0+cpu-py3-none-any.whl"""
PIP = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."


@pytest.mark.parametrize(
    ("details", "guilty"),
    [
        (UV, True),
        (PIP, True),
        ("error: Hash mismatch for `numpy==2`", True),
        ("ERROR: No matching distribution found for uv==0.13.9", True),
        ("could not connect to 10.0.2.2:20001", True),
        ("no space for the frameworks: 9 MiB are needed", False),
        ("E: dpkg was interrupted", False),
    ],
)
def test_it_is_suspected_for_what_it_gives(tmp_path: Path, details: str, guilty: bool) -> None:
    cache = WheelCache(index="http://10.0.2.2:20001/simple", folder=tmp_path)
    assert cache.suspect(ProvisionError("layer 4: failed", details=details)) == guilty
    assert (tmp_path / "distrusted").exists() == guilty


def test_after_a_distrust_every_file_is_read(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name, data in ((sha256(WHEEL), WHEEL), (sha256(b"x"), b"bad")):
        (files / name).write_bytes(data)
    index_process.clear(tmp_path)
    assert len(list(files.iterdir())) == 2
    (tmp_path / "distrusted").touch()
    index_process.clear(tmp_path)
    assert [path.name for path in files.iterdir()] == [sha256(WHEEL)]
    assert not (tmp_path / "distrusted").exists()


def test_the_frameworks_have_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floors: list[int] = []

    def started(_index: str, _folder: Path, **given: Any) -> None:
        floors.append(given["floor_bytes"])
        raise CommandError("not started")

    monkeypatch.setattr(index_process, "started", started)
    opened(a_spec(tmp_path, 'pypi_index = "http://127.0.0.1:1/simple"'))
    assert floors[0] > apt_cache.FREE_BYTES + 2**30
