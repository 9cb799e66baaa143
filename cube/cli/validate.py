"""`cube validate`: the suites of stage 4 on a live box."""

import argparse

from cube.cli.apply import ONE_HOST
from cube.cli.options import Commands, add
from cube.cli.output import tell
from cube.config import Spec
from cube.hosts import apply, remote
from cube.hosts.target import find
from cube.hosts.validation import record, validation
from cube.hosts.validation.catalog import NAMES, SUITES, Suite
from cube.hosts.validation.validation import Validation, Wanted
from cube.runtime.errors import ValidationError


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    text = "prove a live box: GPUs, PyTorch, TensorFlow, vLLM, Docker"
    command = add(commands, "validate", cmd_validate, text, image="--os")
    command.add_argument("host", metavar="HOST", help=ONE_HOST)
    command.add_argument(
        "--suites",
        type=suite_list,
        default=SUITES,
        metavar="NAME,NAME",
        help=f"default: {','.join(NAMES)}",
    )
    add_model(command)
    command.add_argument("--quick", action="store_true", help="the short form of each")


def add_model(command: argparse.ArgumentParser) -> None:
    """Add what the vLLM suite is asked for."""
    command.add_argument(
        "--model",
        default="",
        metavar="PATH_OR_ID",
        help="model of the vLLM suite, on the box; default: a tiny one is made"
        " there, which says nothing of quality",
    )


def suite_list(word: str) -> tuple[Suite, ...]:
    """Accept names of suites, parted by commas; they run in their own order.

    Raises:
        ArgumentTypeError: there is none of a name.
    """
    names = {part.strip() for part in word.split(",")}
    if names - set(NAMES):
        unknown = ", ".join(sorted(names - set(NAMES)))
        raise argparse.ArgumentTypeError(f"no suite {unknown}: choose of {', '.join(NAMES)}")
    return tuple(suite for suite in SUITES if suite.name in names)


def cmd_validate(args: argparse.Namespace, spec: Spec) -> int:
    """Run the suites and keep what they found.

    Raises:
        ValidationError: one failed, or did not run.
    """
    box = remote.reach(find(spec, args.host))
    wanted = Wanted(suites=args.suites, quick=args.quick, model=args.model)
    found = validation.validate(box, wanted)
    files = record.write(apply.results_folder(spec, box) / "validation", found)
    data = {**record.as_data(found), "files": {name: str(path) for name, path in files.items()}}
    tell(args.view, "validation", data, "\n".join([found.summary, *map(str, files.values())]))
    refuse(found)
    return 0


def refuse(found: Validation) -> None:
    """Accept a validation only when every suite passed.

    Raises:
        ValidationError: one failed, or did not run.
    """
    if found.verdict == "passed":
        return
    bad = [one for one in found.results if one.outcome != "pass"]
    raise ValidationError(
        f"{found.box}: {bad[0].suite} {bad[0].summary}",
        hint="the files named above have all findings",
        details="\n".join(
            f"{one.suite} {row.name}: {row.detail}" for one in bad for row in one.having("FAIL")
        ),
    )
