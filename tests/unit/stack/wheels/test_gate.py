"""The gate without hardware: wheels on the disk, and on a server that is read in ranges."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cube.runtime.errors import StackError
from cube.stack import lockfile, profile, table
from cube.stack.choice import Choice
from cube.stack.wheels import gate, remote
from cube.supply.wheel_index.upstream import Upstream
from tests.unit.stack.wheels.samples import fat_binary, library, wheel

NAME = "torch-2.13.0-cp313-cp313-manylinux_2_28_x86_64.whl"
LIBRARY = "torch/lib/libtorch_cuda.so"
BLACKWELL = library(fat_binary([90, 120]))
HOPPER = library(fat_binary([90], ptx=[90]))


def choose(gpu: str = "rtx-5090") -> Choice:
    return Choice(
        gpu=gpu,
        profile=profile.load("cube"),
        os="debian-13",
        source="nvidia",
        frameworks=("pytorch", "tensorflow", "vllm"),
        table=table.load(),
    )


def test_a_wheel_with_the_targets_code(tmp_path: Path) -> None:
    look = gate.look_local(choose(), wheel(tmp_path, NAME, {LIBRARY: BLACKWELL}))
    assert look.covered
    assert look.sentence(choose()) == "torch 2.13.0: sm_90 sm_120: rtx-5090: yes"


def test_a_wheel_without_the_targets_code(tmp_path: Path) -> None:
    look = gate.look_local(choose(), wheel(tmp_path, NAME, {LIBRARY: HOPPER}))
    assert not look.covered
    assert look.sentence(choose()).endswith("sm_90, PTX 90: rtx-5090: NO code for sm_120")


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        (NAME, {"torch/lib/libtorch_cpu.so": b""}, "it has no GPU code"),
        ("numpy-2.0-cp313-cp313-linux_x86_64.whl", {}, "not a wheel of torch, vllm, tensorflow"),
    ],
)
def test_a_wheel_without_gpu_code(
    name: str, files: dict[str, bytes], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(StackError, match=expected):
        gate.look_local(choose(), wheel(tmp_path, name, files))


def test_a_wheel_that_is_cut_off(tmp_path: Path) -> None:
    file = wheel(tmp_path, NAME, {LIBRARY: BLACKWELL})
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(StackError, match="not a whole wheel"):
        gate.look_local(choose(), file)


def test_no_wheel(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="cannot be read: No such file"):
        gate.look_local(choose(), tmp_path / NAME)


class Index:
    """A package index with one wheel of torch; `ranges` tells whether it honours them."""

    def __init__(self, file: Path) -> None:
        self.login = ""
        self.data, self.ranges, self.listed = file.read_bytes(), True, True
        self.sent = 0
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/simple"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.login and handler.headers["Authorization"] != f"Basic {self.login}":
            return self.send(handler, 401, "")
        if handler.path.endswith("/torch/"):
            digest = hashlib.sha256(self.data).hexdigest()
            row = {
                "filename": NAME,
                "url": f"../../files/{NAME}",
                "size": len(self.data),
                "hashes": {"sha256": digest},
            }
            return self.send(handler, 200, json.dumps({"files": [row] if self.listed else []}))
        if not self.ranges:
            return self.send(handler, 200, self.data)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers["Range"])
        assert found
        return self.send(handler, 206, self.data[int(found[1]) : int(found[2]) + 1])

    def send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes | str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.sent += len(data)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setattr(remote, "BLOCK", 4096)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    noise = bytes(hashlib.sha256(str(n).encode()).digest()[0] for n in range(400_000))
    kernels = library(*[fat_binary([90, 120])] * 20)
    files = {"first.bin": noise, LIBRARY: kernels + noise, "last.bin": noise}
    server = Index(wheel(tmp_path, NAME, files))
    yield server
    server.close()


@pytest.fixture
def locked(tmp_path: Path, index: Index) -> Choice:
    """A choice whose lock names the wheel of the index."""
    choice = choose()
    chosen = choice.profile.model_copy(update={"folder": tmp_path, "name": "mine"})
    body = f"torch==2.13.0 \\\n    --hash=sha256:{hashlib.sha256(index.data).hexdigest()}\n"
    text = lockfile.render(chosen, chosen.frameworks["pytorch"], body)
    chosen.lock("pytorch").write_text(text)
    return replace(choice, profile=chosen, frameworks=("pytorch",))


def test_a_wheel_on_the_index_is_read_in_part(index: Index, locked: Choice) -> None:
    framework = gate.packages(locked)["torch"]
    look = gate.look_remote(locked, "torch", framework, Upstream(index.url))
    assert look.covered
    assert look.architectures == ("90", "120")
    assert index.sent < len(index.data) / 2


def test_an_index_with_a_login(index: Index, locked: Choice) -> None:
    index.login = base64.b64encode(b"me:p@ss/w0rd").decode()
    url = index.url.replace("//", "//me:p%40ss%2Fw0rd@")
    assert gate.look_remote(locked, "torch", locked.wanted[0], Upstream(url)).covered
    with pytest.raises(StackError, match="401") as caught:
        gate.look_remote(locked, "torch", locked.wanted[0], Upstream(url.replace("ss", "xx")))
    assert "me:" not in f"{caught.value.message}{caught.value.hint}"


def test_a_server_without_ranges(index: Index, locked: Choice) -> None:
    index.ranges = False
    with pytest.raises(StackError, match="status 200 where 206 was wanted"):
        gate.look_remote(locked, "torch", locked.wanted[0], Upstream(index.url))


def test_an_index_without_the_locked_wheel(index: Index, locked: Choice) -> None:
    index.listed = False
    with pytest.raises(
        StackError, match=r"torch 2\.13\.0: the index has no wheel for Python 3\.13"
    ):
        gate.look_remote(locked, "torch", locked.wanted[0], Upstream(index.url))


def test_no_index(index: Index, locked: Choice) -> None:
    with pytest.raises(StackError, match="cannot be read"):
        gate.look_remote(locked, "torch", locked.wanted[0], Upstream("http://127.0.0.1:1/simple"))


def test_an_index_of_another_scheme(locked: Choice) -> None:
    with pytest.raises(StackError, match="only http and https"):
        gate.look_remote(locked, "torch", locked.wanted[0], Upstream("file:///srv/simple"))
