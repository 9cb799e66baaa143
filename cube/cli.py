"""The command line. The only place where errors become text and exit codes."""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from cube import __version__, doctor, log, pipeline, progress, session, verify
from cube.errors import INTERRUPTED, CubeError, HostError
from cube.spec import OS_NAMES, Spec, load
from cube.spec.load import DEFAULT_FILE

DESCRIPTION = "Build, prove and seal the golden image of a GPU workstation."
EPILOG = "Exit codes: docs/exit-codes.md. Everything to configure: cube.toml."


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="cube", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"cube {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_build(commands)
    add(commands, "verify", cmd_verify, "run the pre-build gate (stage 1) alone")
    add(commands, "doctor", cmd_doctor, "say what this machine lacks and how to get it")
    add_up(commands)
    add_ssh(commands)
    add(commands, "down", cmd_down, "stop the machine that 'up' or 'build --keep' left running")
    return top


Commands = argparse._SubParsersAction
Run = Callable[[argparse.Namespace, Spec], int]


def add(commands: "Commands[argparse.ArgumentParser]", name: str, run: Run, text: str) -> (
    argparse.ArgumentParser
):  # fmt: skip
    """Add a command with the arguments that all of them share."""
    command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    command.set_defaults(run=run)
    command.add_argument(
        "os", nargs="?", default=None, type=image_name, metavar="IMAGE",
        help=f"{' or '.join(OS_NAMES)}; default: image.os of cube.toml",
    )  # fmt: skip
    command.add_argument(
        "--spec", type=Path, default=DEFAULT_FILE, metavar="FILE", help="default: cube.toml"
    )
    view = command.add_mutually_exclusive_group()
    view.add_argument("--json", dest="view", action="store_const", const="json", default="auto",
                      help="one JSON object a line on stdout")  # fmt: skip
    view.add_argument("--plain", dest="view", action="store_const", const="plain",
                      help="plain lines even on a terminal")  # fmt: skip
    return command


def image_name(word: str) -> str:
    """Accept the name of an image.

    Raises:
        ArgumentTypeError: there is none of this name.
    """
    if word not in OS_NAMES:
        raise argparse.ArgumentTypeError(f"no image {word!r}: choose {' or '.join(OS_NAMES)}")
    return word


def add_build(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube build`."""
    command = add(commands, "build", cmd_build, "build, prove and seal an image")
    command.add_argument(
        "--fresh", action="store_true", help="make everything anew, whatever is there already"
    )
    command.add_argument(
        "--keep", action="store_true", help="leave the machine running when a step in it fails"
    )


def add_up(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube up`."""
    command = add(commands, "up", cmd_up, "boot a copy of a layer's disk to look around in")
    command.add_argument(
        "--at", default="", metavar="LAYER",
        help="base, layer1 ... layer5, failed, or image (the sealed one); default: the last layer",
    )  # fmt: skip
    command.add_argument("--machine", choices=["auto", "vm", "container"], default="",
                         help="default: build.machine of cube.toml")  # fmt: skip


def add_ssh(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube ssh`."""
    command = add(commands, "ssh", cmd_ssh, "log in to the machine that is up, or run a command")
    command.usage = "cube ssh [-h] [--spec FILE] [IMAGE] [-- COMMAND ...]"


def cmd_build(args: argparse.Namespace, spec: Spec) -> int:
    """Build an image and say where everything is."""
    result = pipeline.build(spec, keep=args.keep, fresh=args.fresh)
    if args.view == "json":
        print(json.dumps({"kind": "result", **result.as_json()}))  # noqa: T201
    else:
        print(result.summary())  # noqa: T201
    return 0


def cmd_verify(args: argparse.Namespace, spec: Spec) -> int:  # noqa: ARG001 (one signature)
    """Run the gate."""
    with log.step("Stage 1: pre-build validation", stage=1):
        verify.verify(spec)
    return 0


def cmd_doctor(args: argparse.Namespace, spec: Spec) -> int:  # noqa: ARG001 (one signature)
    """Examine this machine."""
    findings = doctor.examine(spec)
    doctor.report(findings)
    doctor.require(findings)
    log.info("this machine can build")
    return 0


def cmd_up(args: argparse.Namespace, spec: Spec) -> int:
    """Boot a disk and leave it running."""
    session.up(spec, at=args.at, kind=args.machine or spec.build.machine)
    return 0


def cmd_ssh(args: argparse.Namespace, spec: Spec) -> int:
    """Become the ssh client."""
    argv = session.ssh_command(spec, args.words)
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606 (the user's terminal becomes ssh's)


def cmd_down(args: argparse.Namespace, spec: Spec) -> int:  # noqa: ARG001 (one signature)
    """Stop what is up."""
    session.down(spec)
    return 0


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
            "kind": "error", "error": type(error).__name__, "exit_code": error.exit_code,
            "text": error.message, "hint": error.hint, "details": error.details,
        }  # fmt: skip
        print(json.dumps(record))  # noqa: T201
        return
    text = progress.error_text(error.message, error.hint, error.details)
    Console(stderr=True).print(text, soft_wrap=True, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: its words without the program's name; None takes the process's own.

    Returns:
        The exit code: see docs/exit-codes.md.
    """
    ours, words = split_command(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(ours, argparse.Namespace(words=words))
    try:
        with told(args.view):
            spec = load(args.spec, os=args.os or "")
            run: Run = args.run
            return run(args, spec)
    except CubeError as error:
        tell_error(error, args.view)
        return error.exit_code
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        hint = "run it as root (sudo)" if isinstance(error, PermissionError) else ""
        tell_error(HostError(f"{place}{error.strerror or error}", hint=hint), args.view)
        return HostError.exit_code
    except KeyboardInterrupt:
        tell_error(CubeError("interrupted; everything that ran for it was ended"), args.view)
        return INTERRUPTED
