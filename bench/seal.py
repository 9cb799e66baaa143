"""Seal variants side by side: the same trimmed disk, in turns, on this machine.

    sudo .venv/bin/python bench/seal.py --disk build/debian-13/vault-cube-debian-13.qcow2

The disk is one that nobody uses: a sealed image or the file of a chain's head. A copy of it is
trimmed and flattened first, so that every variant reads the same bytes; it is only read itself.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# As a program (python bench/seal.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import page, program
from bench.seal_table import JUDGED, OURS, SPECIFICATION, Figure, as_json, markdown
from cube.disks import mount
from cube.disks import qcow2 as disks
from cube.runtime import run
from cube.runtime.errors import CubeError
from cube.seal.flatten import compress
from cube.seal.flatten.compress import Method

#: Seconds for one variant.
LIMIT_S = 3600
FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to write the artifact.

    Args:
        name: what tables call it.
        argv: the program; SOURCE and TARGET stand for the files, RAW for a raw copy.
        method: of our own compression; there is no program then.
        judged: whether QEMU then checks it, and compares it with the disk, as the seal lets it.
        qcow2: whether what it writes can be booted as it is.
    """

    name: str
    argv: tuple[str, ...] = ()
    method: Method | None = None
    judged: bool = False
    qcow2: bool = True


def convert(*options: str) -> tuple[str, ...]:
    """Build a command of qemu-img that writes a compressed qcow2 file."""
    return ("qemu-img", "convert", "-O", "qcow2", "-c", *options, "SOURCE", "TARGET")


#: Levels of zstd beside the seal's own.
OTHER_LEVELS = (3, 6, 9)
ZSTD = "compression_type=zstd"
VARIANTS = (
    Variant(name=SPECIFICATION, argv=convert()),
    Variant(name="zlib, 16 coroutines, out of order", argv=convert("-m", "16", "-W")),
    Variant(name="zlib, 2 MiB", argv=convert("-m", "16", "-W", "-o", "cluster_size=2M")),
    Variant(name="zstd", argv=convert("-o", ZSTD)),
    Variant(name="zstd, 64 KiB", argv=convert("-m", "16", "-W", "-o", ZSTD)),
    Variant(name="zstd, 2 MiB", argv=convert("-m", "16", "-W", "-o", f"{ZSTD},cluster_size=2M")),
    *(
        Variant(name=f"ours, level {level}", method=Method(cluster_bits=21, level=level))
        for level in OTHER_LEVELS
    ),
    Variant(name=OURS, method=compress.BEST),  # the very call of the seal
    Variant(name=JUDGED, method=compress.BEST, judged=True),
    Variant(name="zstd -9 --long of a raw file", qcow2=False,
            argv=("zstd", "-q", "-T0", "-9", "--long=27", "RAW", "-o", "TARGET")),
)  # fmt: skip


def command(variant: Variant, source: Path, raw: Path, target: Path) -> list[str]:
    """Return a variant's command for these files."""
    files = {"SOURCE": str(source), "RAW": str(raw), "TARGET": str(target)}
    return [files.get(word, word) for word in variant.argv]


def write(variant: Variant, source: Path, raw: Path, target: Path) -> None:
    """Write the artifact in a variant's way: a program's, or one of our own."""
    if variant.method is None:
        run.run(command(variant, source, raw, target), timeout_s=LIMIT_S)
    else:
        compress.flatten(source, target, method=variant.method, on_part=passed)
    if variant.judged:
        disks.check(target)
        disks.compare(source, target)


def passed(part: float) -> None:
    """Say nothing of a part that is done."""


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
            write(one, source, raw, target)
            disks.sync(target)
            figures[one.name].seconds.append(time.monotonic() - started)
            figures[one.name].size = target.stat().st_size
            tell(f"{one.name}: {figures[one.name].seconds[-1]:.1f} s")
    return list(figures.values())


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Seal variants side by side.")
    parser.add_argument("--disk", type=Path, help="default: the one sealed image in build/")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="words of the variants, with commas")
    parser.add_argument("--folder", type=Path, default=program.LARGE,
                        help="for copies of the disk (default: %(default)s)")  # fmt: skip
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    parser.add_argument("--page", type=Path, help="add them to this page of figures")
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
            f"{len(found)} sealed images in build/",
            hint="make one (make image), or name it with --disk",
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
        load = os.getloadavg()[0]
        figures = measure(select(asked.only), source, asked.runs)
    data = as_json(figures, used=used, load=load)
    tell(f"\n{markdown(figures)}")
    if asked.output:
        asked.output.write_text(json.dumps(data, indent=2) + "\n")
    if asked.page:
        page.add(asked.page, "seal", data)


if __name__ == "__main__":
    sys.exit(main())
