"""What is written is judged by QEMU: its check, its comparison with the disk, its description."""

import os
import random
import shutil
from pathlib import Path

import pytest

from cube.disks import qcow2 as disks
from cube.runtime import run
from cube.seal.flatten import compress
from cube.seal.flatten.compress import Method

MIB = 1024**2
pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing")


def new_disk(file: Path, size: str = "64M", *, options: str = "") -> Path:
    extra = ["-o", options] if options else []
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", *extra, file, size])
    return file


def write(disk: Path, *commands: str) -> None:
    run.run(["qemu-io", "-f", "qcow2", *(word for one in commands for word in ("-c", one)), disk])


def flattened(disk: Path, target: Path, *, cluster_bits: int = 16, level: int = 3) -> Path:
    """Flatten a disk, and let QEMU judge the file."""
    method = Method(cluster_bits=cluster_bits, level=level)
    told: list[float] = []
    compress.flatten(disk, target, method=method, on_part=told.append)
    run.run(disks.check_args(target))  # exit code 3, leaked clusters, would fail too
    disks.compare(disk, target)
    info = disks.info(target)
    assert (info.format, info.backing, info.compression) == ("qcow2", None, "zstd")
    assert info.virtual_bytes == disks.virtual_bytes(disk)
    return target


def noise(file: Path, size: int, seed: int = 1) -> Path:
    """Write bytes that no method makes shorter."""
    file.write_bytes(random.Random(seed).randbytes(size))
    return file


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Three links that write over each other: noise, patterns, and zeros over what was there."""
    data = noise(tmp_path / "noise", 3 * MIB)
    base = new_disk(tmp_path / "base.qcow2")
    write(base, f"write -s {data} 0 3M", "write -P 5 10M 5M", "write -P 9 63M 1M")
    middle, top = tmp_path / "middle.qcow2", tmp_path / "top.qcow2"
    disks.create_overlay(middle, base)
    write(middle, "write -P 6 12M 100k", "write -z 1M 300k", "write -P 8 40M 70000")
    disks.create_overlay(top, middle)
    write(top, f"write -s {data} 30M 3M", "discard 13M 1M", "write -z 40M 64k")
    return top


@pytest.mark.parametrize("cluster_bits", [12, 16, 21])
def test_file_reads_as_the_chain_does(tmp_path: Path, chain: Path, cluster_bits: int) -> None:
    flattened(chain, tmp_path / "flat.qcow2", cluster_bits=cluster_bits)


def test_same_disk_becomes_the_same_bytes(tmp_path: Path, chain: Path) -> None:
    one, other = flattened(chain, tmp_path / "one"), flattened(chain, tmp_path / "other")
    assert one.read_bytes() == other.read_bytes()


def test_bytes_do_not_depend_on_how_the_chain_was_cut(tmp_path: Path, chain: Path) -> None:
    run.run(disks.flat_args(chain, tmp_path / "plain.qcow2"))
    one, other = flattened(chain, tmp_path / "one"), tmp_path / "other"
    flattened(tmp_path / "plain.qcow2", other)
    assert one.read_bytes() == other.read_bytes()


def test_noise_takes_hardly_more_than_itself(tmp_path: Path) -> None:
    disk = new_disk(tmp_path / "disk.qcow2")
    write(disk, f"write -s {noise(tmp_path / 'noise', 40 * MIB)} 0 40M")
    flat = flattened(disk, tmp_path / "flat.qcow2", cluster_bits=12)
    assert flat.stat().st_size < 41 * MIB  # more than four blocks of counters


def test_last_cluster_may_be_a_part_of_one(tmp_path: Path) -> None:
    disk = new_disk(tmp_path / "disk.qcow2", str(5 * MIB + 512))
    write(disk, "write -P 3 5M 512")
    flattened(disk, tmp_path / "flat.qcow2", cluster_bits=21)


def test_empty_disk_takes_what_a_new_one_does(tmp_path: Path) -> None:
    disk = new_disk(tmp_path / "disk.qcow2")
    flat = flattened(disk, tmp_path / "flat.qcow2")
    assert flat.stat().st_size == disk.stat().st_size


def test_compressed_disk_below_is_unpacked_first(tmp_path: Path) -> None:
    plain = new_disk(tmp_path / "plain.qcow2")
    write(plain, "write -P 5 10M 5M")
    packed, top = tmp_path / "packed.qcow2", tmp_path / "top.qcow2"
    run.run(["qemu-img", "convert", "-c", "-O", "qcow2", plain, packed])
    disks.create_overlay(top, packed)
    write(top, "write -P 6 12M 1M")
    flattened(top, tmp_path / "flat.qcow2")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "flat.qcow2",
        "packed.qcow2",
        "plain.qcow2",
        "top.qcow2",
    ]


def test_disk_of_another_kind_may_be_below(tmp_path: Path) -> None:
    raw = noise(tmp_path / "raw", MIB)
    os.truncate(raw, 8 * MIB)
    top = tmp_path / "top.qcow2"
    run.run(disks.overlay_args(top, raw, backing_format="raw"))
    write(top, "write -P 6 4M 1M")
    flattened(top, tmp_path / "flat.qcow2")


@pytest.mark.parametrize("seed", range(5))
def test_random_chains_read_as_they_did(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    disk = new_disk(tmp_path / "0.qcow2", options="cluster_size=4k")
    for number in range(1, 4):
        commands = [f"write -s {noise(tmp_path / 'noise', MIB, number)} 5M 1M"]
        for _ in range(30):
            start, length = chance.randrange(126_000) * 512, chance.randrange(1, 2000) * 512
            length = min(length, 64 * MIB - start)
            kind = chance.choice([f"write -P {chance.randrange(1, 256)}", "write -z", "discard"])
            commands.append(f"{kind} {start} {length}")
        write(disk, *commands)
        disks.create_overlay(tmp_path / f"{number}.qcow2", disk)
        disk = tmp_path / f"{number}.qcow2"
    flattened(disk, tmp_path / "flat.qcow2", cluster_bits=chance.choice([12, 14, 16, 18]))


def test_parts_are_told_in_order(tmp_path: Path, chain: Path) -> None:
    told: list[float] = []
    compress.flatten(chain, tmp_path / "flat.qcow2", on_part=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_higher_level_is_smaller(tmp_path: Path) -> None:
    disk = new_disk(tmp_path / "disk.qcow2")
    text = tmp_path / "text"
    words = random.Random(1).choices([f"word{number * number}" for number in range(999)], k=600_000)
    text.write_text(" ".join(words)[: 4 * MIB])
    write(disk, f"write -s {text} 0 4M")
    low, high = (flattened(disk, tmp_path / str(level), level=level) for level in (3, 19))
    assert high.stat().st_size < low.stat().st_size
