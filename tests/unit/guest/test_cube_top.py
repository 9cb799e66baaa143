"""cube-top, run for real: on terminals of several kinds and sizes, with sick and healthy GPUs."""

import io
import json
import os
import pty
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from rich.console import Console

from checks.layer5 import test_monitoring
from cube import config
from guest.cube_top.glyphs import ASCII, RICH, Glyphs, choose_glyphs

from .conftest import Box, interpreter

LIMIT_S = 30


@pytest.fixture
def complete(box: Box) -> Box:
    box.install(1, 5)
    box.write_json("etc/cube/release.json", {"name": "vault-cube", "version": "0.1.0"})
    results = [
        {
            "check": "layer1",
            "outcome": "fail",
            "checks": [{"name": "uv", "status": "FAIL", "detail": "[bold] gone"}],
        },
        {"check": "layer5", "outcome": "pass", "checks": []},
    ]
    box.write_json(
        "var/lib/cube/health.json",
        {"time": "2026-01-31T12:00:00Z", "outcome": "fail", "summary": "s", "results": results},
    )
    return box


def frame(box: Box, **more: str) -> str:
    size = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    done = box.run("cube-top", "--once", **{**size, **more})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 50), (60, 15)])
@pytest.mark.parametrize("gpus", [0, 4])
def test_a_frame_fits_its_terminal(complete: Box, width: int, height: int, gpus: int) -> None:
    complete.plug_gpus(gpus)
    if not gpus:
        complete.fake("nvidia-smi", code=127)
    lines = frame(complete, COLUMNS=str(width), LINES=str(height)).splitlines()
    assert {len(line) for line in lines} <= {width}
    if height >= 24:
        assert len(lines) < height


def test_a_frame_shows_everything(complete: Box) -> None:
    complete.plug_gpus(4)
    text = frame(complete, COLUMNS="120", LINES="40")
    for word in (
        "vault-cube 0.1.0",
        "SIMULATED",
        "CPU",
        "Memory",
        "RAM",
        "Disks",
        "Network",
        "GPUs",
        "3 RTX 5090",
        "Health",
        "FAULTY",
        "layer1 uv: [bold] gone",
        "5 ● 01234567",
        "2 ○",
        "Busiest processes",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("scenario", "plugged", "words"),
    [
        ("healthy", 4, ["38 °C", "15/575 W", "1x16", "1.0/31.8 GiB"]),
        ("lost", 4, ["3", "LOST"]),
        ("three", 4, ["1 on the PCI bus do not answer"]),
        ("no_driver", 4, ["4 on the PCI bus, but the NVIDIA driver is not loaded"]),
        ("no_library", 4, ["libnvidia-ml"]),
        ("no_driver", 0, ["this machine has no NVIDIA GPU"]),
        ("na", 4, ["? W"]),
        ("no_new_fields", 4, ["1x16"]),
        ("inforom", 4, ["3 RTX 5090", "15/575 W"]),
        ("hot", 4, ["93 °C"]),
    ],
)
def test_gpus(complete: Box, scenario: str, plugged: int, words: list[str]) -> None:
    complete.plug_gpus(plugged)
    text = frame(complete, SMI_SCENARIO=scenario)
    for word in words:
        assert word in text


def test_a_poor_terminal_gets_plain_signs(complete: Box) -> None:
    text = frame(complete, TERM="dumb")
    assert {sign for sign in text if not sign.isascii()} == set()


@pytest.mark.parametrize(("encoding", "chosen"), [("ascii", ASCII), ("utf-8", RICH)])
def test_signs_are_those_of_the_terminals_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str, chosen: Glyphs
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    assert choose_glyphs(Console(file=stream)) == chosen


def test_the_text_console_gets_signs_of_its_font(complete: Box) -> None:
    text = frame(complete, TERM="linux")
    assert not set(text) & set("╭━▁●○↓↑·")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"results": 1}', '{"layers": [1]}'])
def test_damaged_state_files_break_nothing(complete: Box, text: str) -> None:
    for file in ("var/lib/cube/layers.json", "var/lib/cube/health.json", "etc/cube/release.json"):
        complete.write(file, text)
    assert "NOT CHECKED" in frame(complete)


def test_json(complete: Box) -> None:
    complete.plug_gpus(4)
    data = json.loads(complete.run("cube-top", "--json", SMI_SCENARIO="lost").stdout)
    assert data["evidence"] == "simulated"
    assert data["cpu"]["cores"]
    assert data["memory"]["total"] > 0
    assert [gpu["lost"] for gpu in data["gpus"]["gpus"]] == [False, False, False, True]
    assert data["gpus"]["gpus"][0]["memory_total_mib"] == 32607
    assert data["health"]["faults"] == ["layer1 uv: [bold] gone"]
    assert [layer["recipe"] for layer in data["layers"]] == ["01234567", "", "", "", "01234567"]


def test_the_check_of_the_image_counts_the_gpus_that_are_shown(box: Box) -> None:
    expected = config.load_text("[gpu]\ncount = 4\n", box.root / "cube.toml")
    box.plug_gpus(4)
    test_monitoring.test_dashboard_shows_the_gpus(
        json.loads(box.run("cube-top", "--json").stdout), expected
    )
    three = json.loads(box.run("cube-top", "--json", SMI_SCENARIO="three").stdout)
    with pytest.raises(AssertionError):
        test_monitoring.test_dashboard_shows_the_gpus(three, expected)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "1e9", "x"])
def test_a_senseless_interval_is_refused(box: Box, value: str) -> None:
    done = box.run("cube-top", f"--interval={value}")
    assert done.returncode == 2
    assert "--interval" in done.stderr


def test_a_closed_pipe_is_no_error(complete: Box) -> None:
    program = shlex.join(map(str, interpreter("cube-top")))
    command = f"{program} --once | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, **complete.environment()},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert done.stdout == "0\n"
    assert done.stderr == ""


@dataclass
class Terminal:
    """A program on a pseudo-terminal."""

    process: "subprocess.Popen[bytes]"
    master: int
    slave: int
    output: bytes = b""

    def wait_for(self, text: bytes) -> None:
        """Read until the text was seen."""
        deadline = time.monotonic() + LIMIT_S
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            self.output += os.read(self.master, 65536)

    def end(self) -> int:
        """Return the exit code, reading what is written until then."""
        os.set_blocking(self.master, False)
        deadline = time.monotonic() + LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            self.drain()
        self.drain()
        return self.process.returncode

    def drain(self) -> None:
        """Read all that is there."""
        with suppress(BlockingIOError):
            while chunk := os.read(self.master, 65536):
                self.output += chunk


@contextmanager
def terminal(box: Box, *, term: str = "xterm-256color", **more: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    env = {**os.environ, **box.environment(TERM=term, LC_ALL="C.UTF-8", **more)}
    process = subprocess.Popen(
        [*interpreter("cube-top"), "--interval=0.3"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env,
        start_new_session=True,
    )
    try:
        yield Terminal(process, master, slave)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for descriptor in (slave, master):
            with suppress(OSError):
                os.close(descriptor)


@pytest.mark.parametrize("key", [b"q", b"Q"])
def test_q_ends_it_and_gives_the_terminal_back(complete: Box, key: bytes) -> None:
    with terminal(complete) as screen:
        screen.wait_for(b"q quits")
        os.write(screen.master, b"x" + key)
        assert screen.end() == 0
        assert b"\x1b[?1049l" in screen.output
        assert b"\x1b[?25h" in screen.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_gives_the_terminal_back(
    complete: Box, number: signal.Signals
) -> None:
    with terminal(complete) as screen:
        screen.wait_for(b"q quits")
        screen.process.send_signal(number)
        assert screen.end() == 0
        assert b"\x1b[?1049l" in screen.output
        assert b"Traceback" not in screen.output


def test_a_hanging_driver_does_not_stop_the_screen(complete: Box) -> None:
    complete.plug_gpus(4)
    with terminal(complete, SMI_SCENARIO="hang") as screen:
        screen.wait_for(b"being read")
        os.write(screen.master, b"q")
        assert screen.end() == 0
        with pytest.raises(ProcessLookupError):
            wait_until_empty(screen.process.pid)


def wait_until_empty(group: int) -> None:
    """Return when the time is up; an empty process group raises ProcessLookupError."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        os.killpg(group, 0)
        time.sleep(0.05)


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_a_terminal_that_is_gone_ends_it(complete: Box, term: str) -> None:
    """It is not the program's controlling terminal, so no signal says that it is gone."""
    with terminal(complete, term=term) as screen:
        screen.wait_for(b"Disks")
        os.close(screen.slave)
        os.close(screen.master)
        assert screen.process.wait(LIMIT_S) == 0


def test_a_terminal_without_a_cursor_gets_frame_after_frame(complete: Box) -> None:
    with terminal(complete, term="dumb") as screen:
        screen.wait_for(b"Disks")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0
        assert b"\x1b[" not in screen.output
