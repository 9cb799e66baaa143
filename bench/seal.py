#!/usr/bin/env python3
"""Ways to write the artifact side by side: the same trimmed disk, in turns, on this machine.

The disk is one that nobody uses: a sealed image or the file of a chain's head. A copy of it is
trimmed and flattened first, so that every variant reads the same bytes; it is only read itself.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# As a program (python bench/seal.py) it finds its own package by this.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import measure, page
from bench.measure import PROJECT, turns
from bench.page import Section, Target
from cube.disks import mount
from cube.disks import qcow2 as disks
from cube.runtime import log, run
from cube.runtime.errors import CubeError

#: Seconds for one variant.
LIMIT_S = 3600
SPECIFICATION, OURS = "specification", "seal"
CHECKED = f"{OURS}, and QEMU's comparison with the disk"
#: The call of the seal, as a command: its start of Python is in its time.
FLATTEN = """import sys
from pathlib import Path
from cube.disks import qcow2
from cube.seal.flatten import compress
source, target = map(Path, sys.argv[1:3])
level = int(sys.argv[3])
method = compress.Method(cluster_bits=21, level=level) if level else compress.BEST
compress.flatten(source, target, method=method, on_part=lambda _: None)
if sys.argv[4:]:
    qcow2.check(target)
    qcow2.compare(source, target)
"""


def convert(*options: str) -> list[str]:
    """Build a command of qemu-img that writes a compressed qcow2 file."""
    return ["qemu-img", "convert", "-O", "qcow2", "-c", *options, "SOURCE", "TARGET"]


def ours(level: int = 0, *more: str) -> list[str]:
    """Build the command of our own compression; level 0 is the seal's own method."""
    return [sys.executable, "-c", FLATTEN, "SOURCE", "TARGET", str(level), *more]


PARALLEL, ZSTD = ("-m", "16", "-W", "-o"), "compression_type=zstd"
#: By name; SOURCE and TARGET stand for the files, RAW for a raw copy.
VARIANTS = {
    SPECIFICATION: convert(),
    "zlib, 16 coroutines, out of order": convert("-m", "16", "-W"),
    "zlib, 2 MiB": convert(*PARALLEL, "cluster_size=2M"),
    "zstd": convert("-o", ZSTD),
    "zstd, 64 KiB": convert(*PARALLEL, ZSTD),
    "zstd, 2 MiB": convert(*PARALLEL, f"{ZSTD},cluster_size=2M"),
    **{f"ours, level {level}": ours(level) for level in (3, 6, 9)},
    OURS: ours(),
    CHECKED: ours(0, "check"),
    "zstd -9 --long of a raw file (cannot be booted)":
        ["zstd", "-q", "-T0", "-9", "--long=27", "RAW", "-o", "TARGET"],
}  # fmt: skip


def prepare(disk: Path, folder: Path) -> tuple[Path, Path]:
    """Trim a copy-on-write copy of a disk; write it flat and uncompressed, as qcow2 and raw."""
    overlay, flat, raw = (folder / name for name in ("overlay.qcow2", "trimmed.qcow2", "raw"))
    disks.create_overlay(overlay, disk.resolve())
    with mount.mounted(overlay, folder / "mount", writable=True) as root:
        run.run(["fstrim", root], timeout_s=LIMIT_S)
    for form, target in (("qcow2", flat), ("raw", raw)):
        run.run(["qemu-img", "convert", "-O", form, overlay, target], timeout_s=LIMIT_S)
    return flat, raw


def write(name: str, source: Path, raw: Path, target: Path) -> measure.Timing:
    """Write the artifact in a variant's way, and put it on the medium."""
    files = {"SOURCE": str(source), "RAW": str(raw), "TARGET": str(target)}
    argv = [files.get(word, word) for word in VARIANTS[name]]
    target.unlink(missing_ok=True)
    synced = f"{run.quote(argv)} && {run.quote(['sync', target])}"
    return measure.timed(["sh", "-c", synced], limit_s=LIMIT_S)


def select(words: str) -> list[str]:
    """Return the variants that hold one of these words, and the two that targets compare."""
    wanted = [word for word in words.split(",") if word] or [""]
    always = (SPECIFICATION, OURS)
    return [one for one in VARIANTS if one in always or any(word in one for word in wanted)]


def default_disk() -> Path:
    """Return the sealed image that is there."""
    found = sorted(PROJECT.glob("build/*/*.qcow2"))
    if len(found) != 1:
        hint = "make one (make image), or name it with --disk"
        raise CubeError(f"{len(found)} sealed images in build/", hint=hint)
    return found[0]


def section(
    seconds: dict[str, list[float]], sizes: dict[str, int], used: int, load: list[float]
) -> Section:
    """Return times, sizes and targets as a section of the page."""
    rounds = len(seconds[SPECIFICATION])
    text = f"The same trimmed disk, {used / 1e6:,.1f} MB in use, {rounds} runs in turns. Seconds:"
    text += " median (least-most, runs). Ours include the start of Python; the specification's"
    text += " command compares nothing."
    made = Section(text=text, host=measure.host(), load=load, ours=[OURS, CHECKED])
    smaller = {name: 1 - size / sizes[SPECIFICATION] for name, size in sizes.items()}
    faster = {
        name: measure.ratio(seconds[SPECIFICATION], times) or 0 for name, times in seconds.items()
    }
    heads = ["variant", "seconds", "times as fast", "MB", "smaller by"]
    made.tables[""] = [
        heads,
        *(
            [
                name,
                measure.spread(times),
                f"{faster[name]:.1f}",
                f"{sizes[name] / 1e6:,.1f}",
                f"{smaller[name]:+.1%}",
            ]
            for name, times in seconds.items()
        ),
    ]
    limit = "a higher level of zstd is smaller, and slower; 2 MiB are qcow2's largest clusters"
    bounds = {
        "times as fast as the specification's command": (8.0, faster),
        "part of the size that is saved": (0.10, smaller),
    }
    made.judge(
        Target(what=f"the seal, {what}", bound=bound, value=found[OURS], at_least=True, limit=limit)
        for what, (bound, found) in bounds.items()
    )
    made.plots["Writing the artifact"] = seconds
    made.runs = {"seconds": seconds, "sizes": sizes, "used": used}
    return made


def measure_disk(args: argparse.Namespace, folder: Path) -> None:
    """Run the variants in turns, and publish."""
    source, raw = prepare(args.disk or default_disk(), folder)
    names, target = select(args.only), folder / "target"
    seconds, sizes, load = {name: list[float]() for name in names}, dict[str, int](), list[float]()
    for name in (one for order in turns(names, args.runs) for one in order):
        done = write(name, source, raw, target)
        seconds[name].append(done.seconds)
        sizes[name] = target.stat().st_size
        load.append(done.load)
        log.info(f"{name}: {done.seconds:.1f} s")
    sizes = {name: sizes[name] for name in names}
    made = section(seconds, sizes, source.stat().st_blocks * 512, load)
    page.publish("seal", made, args.page)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code, as `cube` does."""
    made = page.parser(__doc__)
    made.add_argument("--disk", type=Path, help="default: the one sealed image in build/")
    made.add_argument("--runs", type=int, default=3, help="runs of each variant, in turns")
    made.add_argument("--only", default="", help="words of the variants, with commas")
    return page.run(made.parse_args(argv), measure_disk)


if __name__ == "__main__":
    sys.exit(main())
