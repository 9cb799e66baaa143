"""`cube build`, `verify` and `doctor`."""

import argparse
from dataclasses import asdict

from cube.build import doctor, pipeline, verify
from cube.cli.options import Commands, add
from cube.cli.output import tell
from cube.config import BASE, LAYER_ROLES, Spec, link_name
from cube.runtime import log

#: Where a build can end.
LINKS = (BASE, *map(link_name, LAYER_ROLES))


def add_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the group."""
    add_build(commands)
    add(commands, "verify", cmd_verify, "run the pre-build gate (stage 1) alone")
    add(commands, "doctor", cmd_doctor, "report what this machine lacks and how to install it")


def add_build(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `cube build`."""
    command = add(commands, "build", cmd_build, "build, prove and seal an image")
    command.add_argument(
        "--fresh", action="store_true", help="rebuild everything, even if nothing has changed"
    )
    command.add_argument(
        "--to",
        default="",
        choices=LINKS,
        metavar="LINK",
        help="end when this link is there, without sealing an image: base, layer1 ... layer5",
    )
    command.add_argument(
        "--keep", action="store_true", help="leave the machine running when a step in it fails"
    )


def cmd_build(args: argparse.Namespace, spec: Spec) -> int:
    """Build an image and say where everything is."""
    result = pipeline.build(spec, keep=args.keep, fresh=args.fresh, to=args.to)
    tell(args.view, "result", result.as_json(), result.summary())
    return 0


def cmd_verify(args: argparse.Namespace, spec: Spec) -> int:  # noqa: ARG001 (one signature)
    """Run the gate."""
    with log.step("Stage 1: pre-build validation", stage=1):
        verify.verify(spec)
    return 0


def cmd_doctor(args: argparse.Namespace, spec: Spec) -> int:
    """Examine this machine.

    Raises:
        HostError: it lacks something.
    """
    findings = doctor.examine(spec)
    data: dict[str, object] = {"findings": [asdict(one) for one in findings]}
    tell(args.view, "doctor", data, "\n".join(doctor.lines(findings)))
    doctor.require(findings)
    log.info("this machine can build")
    return 0
