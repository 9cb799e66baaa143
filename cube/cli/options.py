"""What every command has: the image, the specification, the kind of output."""

import argparse
from collections.abc import Callable
from pathlib import Path

from cube.config import OS_NAMES, Spec
from cube.config.load import DEFAULT_FILE

Commands = argparse._SubParsersAction
Run = Callable[[argparse.Namespace, Spec], int]
#: What a command does that needs no cube.toml; its ``alone``.
Alone = Callable[[argparse.Namespace], int]


def add(
    commands: "Commands[argparse.ArgumentParser]",
    name: str,
    run: Run,
    text: str,
    *,
    image: str = "os",
) -> argparse.ArgumentParser:
    """Add a command with the arguments that all of them share.

    Args:
        commands: where.
        name: of the command.
        run: what it does.
        text: a phrase for its help.
        image: how the image is given: ``os`` as the first word, ``--os`` as an option where
            other words follow.
    """
    command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    command.set_defaults(run=run, alone=None)
    told = f"{' or '.join(OS_NAMES)}; default: image.os of cube.toml"
    if image == "os":
        command.add_argument("os", nargs="?", type=image_name, metavar="IMAGE", help=told)
    else:
        command.add_argument("--os", type=image_name, metavar="IMAGE", help=told)
    command.add_argument(
        "--spec", type=Path, default=DEFAULT_FILE, metavar="FILE", help="default: cube.toml"
    )
    view = command.add_mutually_exclusive_group()
    view.add_argument(
        "--json",
        dest="view",
        action="store_const",
        const="json",
        default="auto",
        help="one JSON object a line on stdout",
    )
    view.add_argument(
        "--plain",
        dest="view",
        action="store_const",
        const="plain",
        help="plain lines even on a terminal",
    )
    return command


def image_name(word: str) -> str:
    """Accept the name of an image.

    Raises:
        ArgumentTypeError: there is none of this name.
    """
    if word not in OS_NAMES:
        raise argparse.ArgumentTypeError(f"no image {word!r}: choose {' or '.join(OS_NAMES)}")
    return word
