"""An image built in a company's network tells nothing of it: see `tests.integration.company`."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cube import config
from cube.baseimage.debian import bootstrap
from cube.config.workspace import Workspace
from cube.machines import ssh
from cube.runtime import log, run
from cube.seal import leaks, manifest, sealing
from tests.integration.company import Company, opened
from tests.integration.conftest import PROJECT
from tests.integration.test_layers import started
from tests.integration.test_mirrors import remains, set_up

#: What tools take for something else in a path: options of ssh, words of a shell.
FOLDER = "it's 100% new"
#: Seconds for a cold build on two cores that others use, too.
BUILD_S = 5400
#: Seconds between two looks at all processes, which take some milliseconds.
SAMPLE_S = 0.1
CHUNK = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with opened(tmp_path_factory.mktemp("company")) as found:
        yield found


#: What layer 1 does to apt before anything else, a package, and what role python does.
SET_UP = """
from pyinfra.api import deploy
from deploy.runner.data import read
from deploy.operations import apt, venv
from deploy.roles.common import Common, set_up_apt
from deploy.roles.python import TOOLS, Python
from deploy.runner.sources import file_text

@deploy("Sources")
def sources():
    set_up_apt(read(Common))
    apt.refresh(name="Fetch package lists")
    apt.install(name="Install", packages=("figlet", "python3-pip", "python3-venv"))
    data, lock = read(Python), file_text("python/tools.txt")
    venv.locked(
        name="Install uv", path=TOOLS, requirements=lock, index=data.pypi_index, proxy=data.proxy,
    )

sources()
"""


def test_debian_is_bootstrapped_through_all_of_it(
    company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PACKAGES", ("systemd-sysv",))
    monkeypatch.setattr(bootstrap, "KERNELS", {"generic": "ca-certificates"})
    found = config.load_text(company.network(), tmp_path / "cube.toml")
    tree = tmp_path / FOLDER / "tree"
    heard: list[log.Event] = []
    with log.listening(heard.append):
        bootstrap.make_tree(found, tree)
    bootstrap.finish_tree(found, tree)
    assert company.archive.asked(".deb")
    assert company.security.asked("InRelease")
    assert len(company.proxy.asked) > 1
    assert remains(tree, [word.encode() for word in company.traces().values()]) == []
    told = "\n".join(event.text for event in heard)
    assert [name for name, word in company.secrets().items() if word in told] == []


@contextlib.contextmanager
def watched(words: Mapping[str, str]) -> Iterator[set[str]]:
    """Look at the command of every process while the block runs.

    Yields:
        Names of the words that were in one, with its program; containers' processes count.
    """
    found, stop = set[str](), threading.Event()

    def look() -> None:
        while not stop.wait(SAMPLE_S):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    command = file.read_text(errors="replace")
                    program = command.split("\0", 1)[0]
                    found.update(f"{name}: {program}" for name in words if words[name] in command)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def holds(file: Path, words: Mapping[str, str]) -> set[str]:
    """Name the words that are somewhere in a file, which may be sparse."""
    found, longest = set[str](), max(len(word.encode()) for word in words.values())
    with file.open("rb") as stream:
        for start, length in leaks.data_of(stream.fileno()):
            for offset in range(start, start + length, CHUNK):
                data = os.pread(stream.fileno(), CHUNK + longest, offset)
                found |= {name for name, word in words.items() if word.encode() in data}
    return found


def test_a_word_anywhere_in_a_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as stream:
        stream.write(b"first")
        for at, word in ((CHUNK - 3, b"across"), (5 * CHUNK, b"last")):
            stream.seek(at)
            stream.write(word)
    words = {word: word for word in ("first", "across", "last", "none")}
    assert holds(file, words) == {"first", "across", "last"}


def test_a_process_list_with_a_secret_is_seen() -> None:
    """The watch would find one."""
    with watched({"secret": "a-secret-of-this-test"}) as seen:
        subprocess.run(["sleep", "0.5"], check=True)
        assert not seen
        subprocess.run(["sh", "-c", "sleep 1; : a-secret-of-this-test"], check=True)
    assert seen == {"secret: sh"}


@pytest.mark.exhaustive
def test_a_machine_is_set_up_through_all_of_it_and_sealed(
    company: Company, base_disk: Path, key_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    file = tmp_path / "cube.toml"
    file.write_text(f'{company.network()}\n[build]\ndir = "{folder}/build"\n')
    (folder / "set_up.py").write_text(SET_UP)
    loaded = config.load(file)
    work = Workspace.of(loaded)
    work.machines.mkdir(parents=True)
    ssh.make_key(work.build_key)
    company.proxy.asked.clear()
    with (
        watched(company.secrets()) as seen,
        started(work.machines, base_disk, work.build_key) as machine,
    ):
        for _ in range(2):
            set_up(machine, loaded, folder)
        machine.shutdown()
        image = machine.disk
    sealing.clean(image, loaded, key_file=work.build_key, work=work.work)
    assert seen == set()
    places = (company.archive, company.security, company.index)
    assert {f"{company.address}:{one.port}" for one in places} <= set(company.proxy.asked)
    assert company.index.sent["uv"] == 1

    with sealing.repacked(image, loaded, work) as raw:
        assert holds(raw, {**company.traces(), "folder": str(folder)}) == set()


@pytest.mark.exhaustive
def test_an_image_of_all_of_it_at_once_tells_nothing(company: Company, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    file, output = tmp_path / "cube.toml", tmp_path / "output"
    file.write_text(f'{company.network()}\n[build]\ndir = "{folder}/build"\n')
    argv = [sys.executable, "-m", "cube", "build", "debian-13", "--plain", "--spec", str(file)]
    with output.open("w") as stream, watched(company.secrets()) as seen:
        code = subprocess.run(
            argv, stdout=stream, stderr=subprocess.STDOUT, timeout=BUILD_S, check=False, cwd=PROJECT
        ).returncode
    assert seen == set()
    assert code == 0, output.read_text()[-6000:]
    work = Workspace.of(config.load(file))
    assert len(manifest.read(work.manifest)["proof"]["clones"]) == 2
    assert company.archive.asked(".deb")
    assert company.security.asked("InRelease")
    assert company.index.sent["uv"]
    assert f"{company.address}:{company.archive.port}" in company.proxy.asked

    raw = tmp_path / "artifact.raw"
    run.run(["qemu-img", "convert", "-O", "raw", work.artifact, raw], timeout_s=1200)
    traces = {**company.traces(), "folder": str(folder), "account": "cube-build"}
    assert holds(raw, traces) == set()
    raw.unlink()
    told = [output, *(one for one in work.root.parent.rglob("*") if one.is_file())]
    for one in told:
        if one.suffix not in (".qcow2", ".whl", ".deb"):
            assert holds(one, company.secrets()) == set(), one
