"""The command line. The only place where errors become text and exit codes."""

import argparse
import contextlib
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NoReturn

from rich.console import Console

from cube import __version__
from cube.cli import apply, bisect, build, chain, machine, passport, rollback, stack, validate
from cube.cli.options import Alone, Run
from cube.config import load
from cube.runtime import progress, redact
from cube.runtime.errors import DISK_FULL, INTERRUPTED, MAKE_ROOM, CubeError, HostError

DESCRIPTION = "Build, prove and seal the golden image of a GPU workstation."
EPILOG = "Exit codes: docs/reference.md. Everything to configure: cube.toml."


#: What helps against an error of the operating system. Source: errno(3)
REMEDIES = {
    errno.EACCES: "run it as root (sudo)",
    errno.EPERM: "run it as root (sudo)",
    errno.EROFS: "name a place that can be written; build.dir of cube.toml is where builds are",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a file stands where a folder should be: name another path",
    errno.EEXIST: "a file stands where a folder should be: name another path",
    errno.ENOENT: "check how the path is written",
    errno.ELOOP: "a link leads back to itself: name another path",
    errno.ENAMETOOLONG: "the path is too long: name a shorter one",
    errno.EMFILE: "allow more open files: ulimit -n 4096",
}


class Parser(argparse.ArgumentParser):
    """A parser that shows no login of a URL when it refuses a word."""

    def error(self, message: str) -> NoReturn:
        """End the program, as argparse does."""
        super().error(redact.masked(message))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = Parser(prog="cube", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"cube {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in (build, machine, chain, rollback, bisect, apply, stack, validate, passport):
        group.add_commands(commands)
    return top


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line at ``--``: what is ours, and the command to run in a machine."""
    words = list(argv)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signal's signature)
    raise KeyboardInterrupt


@contextlib.contextmanager
def told(view: progress.Mode) -> Iterator[None]:
    """Show progress while the block runs; SIGTERM and a closed terminal work like Ctrl-C.

    Ctrl-C works in the background of a script too, where the shell has it ignored; nohup is
    respected. Source: POSIX, Shell Command Language, 2.11, "Signals and Error Handling".
    """
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)
    with progress.showing(view):
        yield


def tell_error(error: CubeError, view: str) -> None:
    """Say an error once: as an object for a program, as lines for a person."""
    if view == "json":
        record = {
            "kind": "error",
            "error": type(error).__name__,
            "exit_code": error.exit_code,
            "text": error.message,
            "hint": error.hint,
            "details": error.details,
        }
        try:
            print(json.dumps(record), flush=True)  # noqa: T201
        except OSError:
            abandon_stdout()
        else:
            return
    text = progress.error_text(error.message, error.hint, error.details)
    Console(stderr=True).print(text, soft_wrap=True, highlight=False)


def remedy(error: OSError) -> str:
    """Say what a person can do about an error of the operating system; empty when unknown."""
    if error.errno in DISK_FULL:
        return f"free space on the disk: {MAKE_ROOM}"
    return REMEDIES.get(error.errno or 0, "")


def abandon_stdout() -> None:
    """Let go of a standard output that takes nothing more, with what it still holds."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: its words without the program's name; None takes the process's own.

    Returns:
        The exit code: see docs/reference.md.
    """
    ours, words = split_command(sys.argv[1:] if argv is None else argv)
    for word in ours:
        redact.remember(word)
    args = parser().parse_args(ours, argparse.Namespace(words=words))

    def work() -> int:
        alone: Alone | None = args.alone
        if alone:
            return alone(args)
        spec = load(args.spec, os=args.os or "")
        run: Run = args.run
        return run(args, spec)

    return ended(work, args.view)


def ended(work: Callable[[], int], view: progress.Mode) -> int:
    """Do what a program is for; return its exit code, an error told as a person reads it."""
    try:
        with told(view):
            code = work()
            sys.stdout.flush()
            return code
    except CubeError as error:
        tell_error(error, view)
        return error.exit_code
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        hint = remedy(error)
        tell_error(HostError(f"{place}{error.strerror or error}", hint=hint), view)
        return HostError.exit_code
    except KeyboardInterrupt:
        tell_error(CubeError("interrupted; all its processes were ended"), view)
        return INTERRUPTED
