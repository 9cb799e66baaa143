"""The bench of the seal: its commands, its table, its verdict."""

from pathlib import Path

import pytest

from bench import seal as bench
from bench import seal_table
from cube import seal


def figure(name: str, seconds: list[float], size: int) -> seal_table.Figure:
    return seal_table.Figure(name=name, seconds=seconds, size=size)


def test_the_peer_is_the_words_of_the_specification() -> None:
    argv = bench.command(bench.VARIANTS[0], Path("/s"), Path("/r"), Path("/t"))
    assert argv == ["qemu-img", "convert", "-O", "qcow2", "-c", "/s", "/t"]


def test_ours_is_the_command_of_the_seal() -> None:
    (ours,) = (one for one in bench.VARIANTS if one.name == seal_table.OURS)
    argv = bench.command(ours, Path("/s"), Path("/r"), Path("/t"))
    assert seal.QCOW2_OPTIONS in argv
    assert argv[-2:] == ["/s", "/t"]


@pytest.mark.parametrize(
    ("seconds", "size", "said"),
    [
        (10.0, 890, "8.0x as fast as the specification's (at least 8x: met), 11.0% smaller"),
        (20.0, 950, "4.0x as fast as the specification's (at least 8x: missed), 5.0% smaller"),
    ],
)
def test_the_verdict_says_what_was_met(seconds: float, size: int, said: str) -> None:
    peer, ours = figure("specification", [80.0], 1000), figure("seal", [seconds], size)
    text = seal_table.markdown([peer, ours])
    assert said in text
    assert ("10%: met" in text) == (size == 890)


def test_the_two_that_targets_compare_are_always_run() -> None:
    assert [one.name for one in bench.select("512")] == ["specification", "zstd, 512 KiB", "seal"]
    assert len(bench.select("")) == len(bench.VARIANTS)
