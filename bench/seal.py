"""Seal variants side by side: the same trimmed disk, in turns, on this machine.

    sudo .venv/bin/python bench/seal.py --disk build/debian-13/vault-cube-debian-13.qcow2

The disk is one that nobody uses: a sealed image or the file of a chain's head. A copy of it is
trimmed and flattened first, so that every variant reads the same bytes; it is only read itself.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import program
from cube import disk as disks
from cube import mount, run, seal
from cube.errors import CubeError

#: The targets of the project: times as fast, and the part of the size that is saved.
FASTER, SMALLER = 8.0, 0.10
#: Seconds for one variant.
LIMIT_S = 3600
FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to write the artifact.

    Args:
        name: what tables call it.
        argv: the program; SOURCE and TARGET stand for the files, RAW for a raw copy.
        qcow2: whether what it writes can be booted as it is.
    """

    name: str
    argv: tuple[str, ...]
    qcow2: bool = True


def convert(*options: str) -> tuple[str, ...]:
    """Build a command of qemu-img that writes a compressed qcow2 file."""
    return ("qemu-img", "convert", "-O", "qcow2", "-c", *options, "SOURCE", "TARGET")


ZSTD = "compression_type=zstd"
SPECIFICATION = "specification"
OURS = "seal"
VARIANTS = (
    Variant(name=SPECIFICATION, argv=convert()),
    Variant(name="zlib, 16 coroutines, out of order", argv=convert("-m", "16", "-W")),
    Variant(name="zlib, 2 MiB", argv=convert("-m", "16", "-W", "-o", "cluster_size=2M")),
    Variant(name="zstd", argv=convert("-o", ZSTD)),
    Variant(name="zstd, 64 KiB", argv=convert("-m", "16", "-W", "-o", ZSTD)),
    Variant(name="zstd, 512 KiB",
            argv=convert("-m", "16", "-W", "-o", f"{ZSTD},cluster_size=512K")),
    Variant(name=OURS, argv=()),  # the very command of the seal: see `command`
    Variant(name="zstd -9 --long of a raw file", qcow2=False,
            argv=("zstd", "-q", "-T0", "-9", "--long=27", "RAW", "-o", "TARGET")),
    Variant(name="zstd -19 --long of a raw file", qcow2=False,
            argv=("zstd", "-q", "-T0", "-19", "--long=27", "RAW", "-o", "TARGET")),
)  # fmt: skip


@dataclass(kw_only=True)
class Figure:
    """What a variant took, run by run; the size is the same each time, but for threads."""

    name: str
    seconds: list[float] = field(default_factory=list)
    size: int = 0
    qcow2: bool = True

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


def command(variant: Variant, source: Path, raw: Path, target: Path) -> list[str]:
    """Return a variant's command for these files."""
    if variant.name == OURS:
        return disks.convert_args(source, target, options=seal.QCOW2_OPTIONS)
    files = {"SOURCE": str(source), "RAW": str(raw), "TARGET": str(target)}
    return [files.get(word, word) for word in variant.argv]


def prepare(disk: Path, folder: Path) -> Path:
    """Trim a copy-on-write copy of a disk, and write it flat and uncompressed."""
    overlay, flat = folder / "overlay.qcow2", folder / "trimmed.qcow2"
    disks.create_overlay(overlay, disk.resolve())
    with mount.mounted(overlay, folder / "mount", writable=True) as root:
        run.run(["fstrim", root], timeout_s=LIMIT_S)
    run.run(["qemu-img", "convert", "-O", "qcow2", overlay, flat], timeout_s=LIMIT_S)
    overlay.unlink()
    return flat


def tell(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def measure(chosen: Sequence[Variant], source: Path, runs: int) -> list[Figure]:
    """Run the variants in turns, each `runs` times."""
    figures = {one.name: Figure(name=one.name, qcow2=one.qcow2) for one in chosen}
    raw, target = source.with_name("raw"), source.with_name("target")
    if not all(one.qcow2 for one in chosen):
        run.run(["qemu-img", "convert", "-O", "raw", source, raw], timeout_s=LIMIT_S)
    for _ in range(runs):
        for one in chosen:
            target.unlink(missing_ok=True)
            started = time.monotonic()
            run.run(command(one, source, raw, target), timeout_s=LIMIT_S)
            disks.sync(target)
            figures[one.name].seconds.append(time.monotonic() - started)
            figures[one.name].size = target.stat().st_size
            tell(f"{one.name}: {figures[one.name].seconds[-1]:.1f} s")
    return list(figures.values())


def row(figure: Figure, peer: Figure) -> str:
    """Return a figure's line of the table."""
    spread = f"{min(figure.seconds):.1f}-{max(figure.seconds):.1f}"
    name = figure.name if figure.qcow2 else f"{figure.name} (cannot be booted)"
    return (
        f"| {name} | {figure.median:.1f} | {spread} | {peer.median / figure.median:.1f} |"
        f" {figure.size / 1e6:,.1f} | {1 - figure.size / peer.size:+.1%} |"
    )


def verdict(ours: Figure, peer: Figure) -> str:
    """Say whether the targets are met."""
    faster, smaller = peer.median / ours.median, 1 - ours.size / peer.size
    words = {True: "met", False: "missed"}
    return (
        f"Targets: {faster:.1f}x as fast as the specification's (at least {FASTER:.0f}x:"
        f" {words[faster >= FASTER]}), {smaller:.1%} smaller (at least {SMALLER:.0%}:"
        f" {words[smaller >= SMALLER]})."
    )


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table and the verdict."""
    known = {figure.name: figure for figure in figures}
    peer, ours = known[SPECIFICATION], known[OURS]
    head = "| variant | seconds, median | range | times as fast | MB | smaller by |\n"
    head += "|---|---|---|---|---|---|"
    rows = "\n".join(row(figure, peer) for figure in figures)
    return f"{head}\n{rows}\n\n{verdict(ours, peer)}\n"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Seal variants side by side.")
    parser.add_argument("--disk", type=Path, help="default: the one sealed image in build/")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="words of the variants, with commas")
    parser.add_argument("--folder", type=Path, help="for copies of the disk; default: a new one")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def select(words: str) -> list[Variant]:
    """Return the variants that hold one of these words, and the two that targets compare."""
    wanted = [word for word in words.split(",") if word]
    return [
        one for one in VARIANTS
        if one.name in (SPECIFICATION, OURS) or not wanted or any(w in one.name for w in wanted)
    ]  # fmt: skip


def default_disk() -> Path:
    """Return the sealed image that is there.

    Raises:
        CubeError: there is none, or there are several.
    """
    found = sorted(FOLDER.glob("build/*/*.qcow2"))
    if len(found) != 1:
        raise CubeError(
            f"{len(found)} sealed images in build/", hint="make one, or name it with --disk"
        )
    return found[0]


def main() -> int:
    """Run the benchmark; return the exit code, as `cube` does."""
    return program.ended(partial(measure_disk, options()))


def measure_disk(asked: argparse.Namespace) -> None:
    """Measure and tell."""
    disk = asked.disk or default_disk()
    with tempfile.TemporaryDirectory(prefix="cube-seal-", dir=asked.folder) as name:
        source = prepare(disk, Path(name))
        used = source.stat().st_blocks * 512
        figures = measure(select(asked.only), source, asked.runs)
    tell(f"\n{used / 1e6:,.1f} MB in use, {asked.runs} runs in turns\n\n{markdown(figures)}")
    if asked.output:
        data = [{"name": one.name, "seconds": one.seconds, "bytes": one.size} for one in figures]
        asked.output.write_text(json.dumps(data, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
