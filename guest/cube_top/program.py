"""The command line of cube-top."""

import argparse
import dataclasses
import json
import os
import signal
import sys

from rich.console import Console

from guest.checking.program import end_running
from guest.cube_top.snapshot import sample
from guest.cube_top.terminal import GONE, print_once, show_frames, show_live

SHORTEST_S, LONGEST_S = 0.2, 3600


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="cube-top", description="Show this Cube on one screen.")
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument("--json", action="store_true", help="print one snapshot as JSON and end")
    parser.add_argument(
        "--interval", type=float, default=2.0, metavar="SECONDS", help="between frames (2)"
    )
    options = parser.parse_args()
    if not SHORTEST_S <= options.interval <= LONGEST_S:
        parser.error(f"--interval must be between {SHORTEST_S} and {LONGEST_S} seconds")
    return options


def show(options: argparse.Namespace) -> None:
    """Do what was asked for, as far as the terminal allows."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")  # a poor terminal gets question marks, not an end
    console = Console()
    if options.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(sample()), indent=2) + "\n")
    elif options.once or not console.is_terminal:
        print_once(console)
    elif console.is_dumb_terminal or not sys.stdin.isatty():
        show_frames(console, max(options.interval, 5.0))
    else:
        show_live(console, options.interval)


def main() -> int:
    """Run; being told to stop is a good end."""
    options = parse_arguments()
    for number_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_, lambda *_: sys.exit(0))
    try:
        show(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        if error.errno not in GONE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        end_running()
    return 0
