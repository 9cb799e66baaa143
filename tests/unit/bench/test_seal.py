"""The bench of the seal: its commands, its table, its verdict."""

from pathlib import Path

import pytest

from bench import seal as bench
from bench import seal_table
from cube.disks import qcow2 as disks
from cube.runtime import run
from cube.seal import sealing


def figure(name: str, seconds: list[float], size: int) -> seal_table.Figure:
    return seal_table.Figure(name=name, seconds=seconds, size=size)


def test_the_peer_is_the_words_of_the_specification() -> None:
    argv = bench.command(bench.VARIANTS[0], Path("/s"), Path("/r"), Path("/t"))
    assert argv == ["qemu-img", "convert", "-O", "qcow2", "-c", "/s", "/t"]


def test_ours_is_what_the_seal_does(tmp_path: Path) -> None:
    (ours,) = (one for one in bench.VARIANTS if one.name == seal_table.OURS)
    disk, sealed, target = (tmp_path / name for name in ("disk", "sealed", "target"))
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"])
    run.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 8M 5M", disk])
    sealing.flatten(disk, sealed)
    bench.write(ours, disk, tmp_path / "raw", target)
    assert target.read_bytes() == sealed.read_bytes()


def test_a_program_writes_what_its_variant_says(tmp_path: Path) -> None:
    disk, target = tmp_path / "disk", tmp_path / "target"
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"])
    bench.write(bench.VARIANTS[0], disk, tmp_path / "raw", target)
    assert disks.info(target).compression == "zlib"


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
    assert [one.name for one in bench.select("64")] == ["specification", "zstd, 64 KiB", "seal"]
    assert len(bench.select("")) == len(bench.VARIANTS)
