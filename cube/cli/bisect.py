"""`cube bisect`."""

import argparse
import re
import shlex
from collections.abc import Sequence

from cube.build import debug_machine
from cube.chain import bisect, bisect_probe
from cube.chain.store.link import Link
from cube.chain.store.links import Store
from cube.cli.options import Commands, add
from cube.cli.output import tell
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines.choose import choose
from cube.runtime import log

#: Seconds that the command may take on a machine.
TIMEOUT_S = 300.0
TEXT = "find the layer at which a command on the guest starts to fail"


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "bisect", cmd_bisect, TEXT, image="--os")
    command.set_defaults(refuse=command.error)
    command.usage = (
        "cube bisect [-h] [--os IMAGE] [--spec FILE] [--json | --plain] [--machine KIND]\n"
        "                   [--timeout SECONDS] -- COMMAND ..."
    )
    command.epilog = "Exit code of COMMAND: 0 good, 125 cannot tell, any other bad."
    command.add_argument(
        "--machine",
        choices=["auto", "vm", "container"],
        default="",
        help="default: build.machine of cube.toml",
    )
    command.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help=f"a COMMAND that takes longer has failed; default: {TIMEOUT_S:.0f}",
    )


def seconds(word: str) -> float:
    """Accept a time that ends.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", word) or float(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r}: write seconds, like 300")
    return float(word)


def cmd_bisect(args: argparse.Namespace, spec: Spec) -> int:
    """Search by halves, booting a copy of each link that is tried."""
    if not args.words:
        args.refuse("say what to run, after two dashes: cube bisect -- COMMAND")
    work = Workspace.of(spec)
    store, line = Store(folder=work.chain), shell_line(args.words)
    debug_machine.clear(work)
    choice = choose(args.machine or spec.build.machine)
    log.debug(f"machine: {choice.reason}")

    def attempt(link: Link) -> bisect_probe.Probe:
        return bisect_probe.attempt(
            link,
            line,
            timeout_s=args.timeout,
            boot=lambda one: debug_machine.trial(spec, one.disk, choice),
        )

    with store.reading():
        found = bisect.find(store.current(), attempt)
    tell(args.view, "bisect", found.as_json(), found.summary())
    return 0


def shell_line(words: Sequence[str]) -> str:
    """Return a command for the guest's shell: one word is a line for it, several are its words."""
    return words[0] if len(words) == 1 else shlex.join(words)
