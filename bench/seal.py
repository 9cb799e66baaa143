"""Ways to write the artifact side by side: the same trimmed disk, in turns, on this machine.

The disk is one that nobody uses: a sealed image or the file of a chain's head. A copy of it is
trimmed and flattened first, so that every variant reads the same bytes; it is only read itself.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.page import Section, Target
from bench.timing import PROJECT, Runs, Timing, timed, turns
from cube.disks import mount, qcow2
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
HEAD = """The same trimmed disk, {used:,.1f} MB in use, {rounds} runs in turns. Seconds: median
(least-most, runs). Ours include the start of Python; the specification's command compares
nothing."""
LIMIT = "a higher level of zstd is smaller, and slower; 2 MiB are qcow2's largest clusters"


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
    qcow2.create_overlay(overlay, disk.resolve())
    with mount.mounted(overlay, folder / "mount", writable=True) as root:
        run.run(["fstrim", root], timeout_s=LIMIT_S)
    for form, target in (("qcow2", flat), ("raw", raw)):
        run.run(["qemu-img", "convert", "-O", form, overlay, target], timeout_s=LIMIT_S)
    return flat, raw


def write(name: str, source: Path, raw: Path, target: Path) -> Timing:
    """Write the artifact in a variant's way, and put it on the medium."""
    files = {"SOURCE": str(source), "RAW": str(raw), "TARGET": str(target)}
    argv = [files.get(word, word) for word in VARIANTS[name]]
    target.unlink(missing_ok=True)
    synced = f"{run.quote(argv)} && {run.quote(['sync', target])}"
    return timed(["sh", "-c", synced], limit_s=LIMIT_S)


def select(words: str) -> list[str]:
    """Return the variants that hold one of these words, and the two that targets compare."""
    wanted, always = words.split(","), (SPECIFICATION, OURS)
    return [one for one in VARIANTS if one in always or any(word in one for word in wanted)]


def section(runs: Runs, sizes: Mapping[str, int], used: int) -> Section:
    """Return times, sizes and targets as a section of the page."""
    text = HEAD.format(used=used / 1e6, rounds=len(runs[SPECIFICATION,]))
    made = Section(text=text, host=runs.where(), ours=[OURS, CHECKED])
    faster = {name: runs.ratio([SPECIFICATION], [name]) or 0 for name in sizes}
    smaller = {name: 1 - size / sizes[SPECIFICATION] for name, size in sizes.items()}
    rows = [
        {
            "variant": name,
            "seconds": runs.spread(name),
            "times as fast": f"{faster[name]:.1f}",
            "MB": f"{size / 1e6:,.1f}",
            "smaller by": f"{smaller[name]:+.1%}",
        }
        for name, size in sizes.items()
    ]
    made.add("", rows)
    made.judge(
        Target(f"the seal, {what}", bound, found[OURS], at_least=True, limit=LIMIT)
        for what, bound, found in (
            ("times as fast as the specification's command", 8.0, faster),
            ("part of the size that is saved", 0.10, smaller),
        )
    )
    made.plots["Writing the artifact"] = {name: runs.seconds(name) for name in sizes}
    return made


def add_options(made: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    made.add_argument("--disk", type=Path, help="default: the one sealed image in build/")
    made.add_argument("--runs", type=int, default=3, help="runs of each variant, in turns")
    made.add_argument("--only", default="", help="words of the variants, with commas")


def measure(args: argparse.Namespace, folder: Path) -> Section:
    """Run the variants in turns."""
    disks = [args.disk] if args.disk else sorted(PROJECT.glob("build/*/*.qcow2"))
    if len(disks) != 1:
        hint = "make one (make image), or name it with --disk"
        raise CubeError(f"{len(disks)} sealed images in build/", hint=hint)
    source, raw = prepare(disks[0], folder)
    names, target = select(args.only), folder / "target"
    runs, sizes = Runs(), dict.fromkeys(names, 0)
    for name in turns(names, args.runs):
        done = write(name, source, raw, target)
        runs[name,].append(done)
        sizes[name] = target.stat().st_size
        log.info(f"{name}: {done.seconds:.1f} s")
    return section(runs, sizes, source.stat().st_blocks * 512)
