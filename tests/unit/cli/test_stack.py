"""`cube stack` as a user types it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cube.cli import command_line
from cube.runtime import hardware
from cube.runtime.errors import StackError
from cube.stack import lockfile, profile
from cube.stack.wheels import resolve
from tests.authority import certified
from tests.unit.stack.wheels.samples import fat_binary, library, wheel

UV = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/arguments
echo "$UV_DEFAULT_INDEX" > {folder}/index
cp pyproject.toml wanted.in {folder}/
[ -f shared.txt ] && cp shared.txt {folder}/
{body}
"""
BODY = f"torch==2.13.0 \\\n    --hash=sha256:{'0' * 64}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hardware, "nvidia_gpus", list)
    write(tmp_path, "")
    return tmp_path


def write(place: Path, text: str) -> None:
    (place / "cube.toml").write_text(text)


def run(place: Path, *words: str) -> int:
    return command_line.main(["stack", *words, "--spec", str(place / "cube.toml")])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_show(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place) == 0
    out = capsys.readouterr().out
    assert "driver      at least 580.65.06, branch 580, open modules" in out
    assert "vllm        0.32.0, CUDA 13.0," in out
    assert "applied     not in a build here" in out
    assert "note: TensorFlow 2.21.0 has no code for sm_120" in out


def test_show_for_a_program(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "show", "--json") == 0
    found = told(capsys)
    assert found["kind"] == "stack"
    assert found["profile"]["cuda"] == "13.0"
    assert [one["level"] for one in found["findings"]] == ["warning"]


def test_check_passes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "check") == 0
    assert capsys.readouterr().out.endswith("cube drives rtx-5090 on debian-13\n")


def test_check_refuses(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(place, '[stack]\nprofile = "specification"\n')
    assert run(place, "check") == StackError.exit_code == 17
    err = capsys.readouterr().err
    assert "the PCI id 10de:2b85 is absent below 570.86.16, and only open kernel modules" in err
    assert "nearest set that works: profile = cube" in err


def test_check_refuses_for_a_program(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(place, '[stack]\nprofile = "specification"\n')
    assert run(place, "check", "--json") == StackError.exit_code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = next(line for line in lines if line.get("kind") == "stack-check")
    assert found["works"] is False
    assert found["nearest"] == {"profile": "cube"}
    assert len(found["problems"]) > 4


def test_gpus(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "gpus") == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line.split() for line in lines if line.startswith("rtx-5090 ")]
    assert row[4:] == ["10de:2b85", "blackwell", "120", "32607", "MiB", "570.86.16+"]
    assert run(place, "gpus", "--json") == 0
    assert told(capsys)["gpus"]["rtx-5090"]["pci"] == ["2b85"]


def test_wheels_of_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "torch-2.13.0-cp313-cp313-manylinux_2_28_x86_64.whl"
    good = {"torch/lib/libtorch_cuda.so": library(fat_binary([120]))}
    file = wheel(place, name, good)
    assert run(place, "wheels", "--wheel", str(file)) == 0
    assert capsys.readouterr().out == "torch 2.13.0: sm_120: rtx-5090: yes\n"
    write(place, '[gpu]\nmodel = "h100"\n')
    assert run(place, "wheels", "--wheel", str(file)) == StackError.exit_code
    assert "torch 2.13.0: sm_120: h100: NO code for sm_90" in capsys.readouterr().err


def test_wheels_for_a_gpu_that_is_not_known(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place, '[gpu]\nmodel = "rtx-9090"\n')
    assert run(place, "wheels") == StackError.exit_code
    assert "gpu.model rtx-9090 is not in the table" in capsys.readouterr().err


@pytest.fixture
def mine(place: Path) -> Path:
    """A profile of one's own, without locks."""
    folder = place / "mine"
    folder.mkdir()
    text = (profile.SHIPPED / "cube" / profile.FILE).read_text()
    (folder / profile.FILE).write_text(text)
    write(place, '[stack]\nprofile = "./mine"\n')
    return folder


def fake_uv(place: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    tools = place / "tools"
    tools.mkdir()
    (tools / "uv").write_text(UV.format(folder=place, body=body))
    (tools / "uv").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tools / "python"))
    monkeypatch.setattr(resolve, "public_index", lambda: "https://index.example/simple")


def test_lock(place: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "body").write_text(BODY)
    fake_uv(place, monkeypatch, f"cp {place}/body lock.txt")
    assert run(place, "lock", "--framework", "pytorch") == 0
    lock = lockfile.read(mine / "pytorch.txt")
    assert lock.header["profile"] == "mine"
    assert lock.version("torch") == "2.13.0"
    arguments = (place / "arguments").read_text().split("\n")
    assert {"--universal", "--generate-hashes", "--no-emit-index-url"} <= set(arguments)
    assert "--default-index" not in arguments  # an index may have a login
    assert (place / "index").read_text() == "https://index.example/simple\n"
    assert "--constraints" not in arguments
    assert "x86_64" in (place / "pyproject.toml").read_text()
    assert "torch==2.13.0" in (place / "wanted.in").read_text()


def test_uv_is_led_through_the_proxy_and_trusts_our_certificates(
    place: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, _ = certified(place, "127.0.0.1")
    text = (place / "cube.toml").read_text()
    network = f'[network]\nproxy = "http://a:b@proxy:1"\nca_certificates = ["{authority}"]\n'
    (place / "cube.toml").write_text(f"{text}\n{network}")
    (place / "body").write_text(BODY)
    look = f'echo "$https_proxy" >{place}/proxy; cat "$SSL_CERT_FILE" >{place}/trusted'
    fake_uv(place, monkeypatch, f"cp {place}/body lock.txt; {look}")
    assert run(place, "lock", "--framework", "pytorch") == 0
    assert (place / "proxy").read_text() == "http://a:b@proxy:1\n"
    assert authority.read_text() in (place / "trusted").read_text()


def test_the_lock_of_pytorch_takes_what_vllms_has(
    place: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mine / "vllm.txt").write_text(BODY)
    (place / "body").write_text(BODY)
    fake_uv(place, monkeypatch, f"cp {place}/body lock.txt")
    assert run(place, "lock", str(mine), "--framework", "pytorch") == 0
    assert (place / "shared.txt").read_text() == BODY
    assert "--constraints" in (place / "arguments").read_text()


def test_nothing_fits(
    place: Path, mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_uv(place, monkeypatch, "echo 'because torch==9.9 has no wheels' >&2; exit 1")
    assert run(place, "lock") == StackError.exit_code
    err = capsys.readouterr().err
    assert "vllm of mine: uv found no set of packages" in err
    assert "because torch==9.9 has no wheels" in err
    assert not (mine / "vllm.txt").exists()


def test_no_such_framework(place: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "lock", "--framework", "jax") == StackError.exit_code
    assert "the profile mine has no framework jax" in capsys.readouterr().err


def test_no_uv(
    place: Path, mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    monkeypatch.setenv("PATH", str(place))
    assert run(place, "lock") == StackError.exit_code
    err = capsys.readouterr().err
    assert "uv: program not found" in err
    assert "./setup.sh" in err


def test_uv_comes_with_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Path(resolve.find_uv()).parent == Path(sys.executable).parent
