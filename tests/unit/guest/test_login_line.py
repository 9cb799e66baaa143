"""The login line: whatever the state files hold, it says something and ends well."""

import os
import time

import pytest

from .conftest import Box


@pytest.fixture
def complete(box: Box) -> Box:
    box.install(1, 5)
    box.write_json("etc/cube/release.json", {"name": "vault-cube", "version": "0.1.0"})
    box.write_json(
        "var/lib/cube/health.json", {"schema": 1, "outcome": "pass", "summary": "all well"}
    )
    return box


def test_it_names_image_layers_health_and_the_dashboard(complete: Box) -> None:
    text = complete.run("60-cube").stdout
    for word in ("vault-cube 0.1.0", "layers: 1 5", "healthy (0 min ago)", "cube-top"):
        assert word in text


def test_it_says_that_the_clock_was_set_back(complete: Box) -> None:
    then = time.time() + 7200
    os.utime(complete.root / "var/lib/cube/health.json", (then, then))
    assert "healthy (before the clock was set back)" in complete.run("60-cube").stdout


def test_it_says_what_is_wrong(complete: Box) -> None:
    complete.write_json(
        "var/lib/cube/health.json",
        {"outcome": "fail", "summary": "layer1 FAIL docker answers: exit code 1"},
    )
    assert "FAULTY: layer1 FAIL docker answers" in complete.run("60-cube").stdout


def test_it_says_that_a_restart_is_due(complete: Box) -> None:
    assert "restart" not in complete.run("60-cube").stdout
    complete.write("run/reboot-required", "*** System restart required ***\n")
    assert "\n  restart: due, for an update\n" in complete.run("60-cube").stdout
    complete.write("run/reboot-required.pkgs", "linux-image-amd64\nlinux-image-amd64\ndbus\n")
    assert "  restart: due, for dbus linux-image-amd64\n" in complete.run("60-cube").stdout


@pytest.mark.parametrize("outcome", ["error", "not_run", "nonsense"])
def test_only_a_pass_is_healthy(complete: Box, outcome: str) -> None:
    complete.write_json("var/lib/cube/health.json", {"outcome": outcome, "summary": "x"})
    assert "healthy" not in complete.run("60-cube").stdout


@pytest.mark.parametrize("text", [None, "", "{", "\x00\x01", '{"outcome": 5}', "\n" * 1000])
@pytest.mark.parametrize(
    "file", ["etc/cube/release.json", "var/lib/cube/health.json", "var/lib/cube/layers.json"]
)
def test_it_never_breaks(complete: Box, file: str, text: str | None) -> None:
    if text is None:
        (complete.root / file).unlink()
    else:
        complete.write(file, text)
    done = complete.run("60-cube")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "cube-top" in done.stdout
