"""The command line of the health checks."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from guest.checking.report import EXIT_CANNOT_RUN, EXIT_CODES, Report, render_json, render_summary
from guest.checking.state import SIMULATED_ROOT, is_simulated
from guest.health import layer1, layer2, layer3, layer4, layer5
from guest.health.box import LAYERS

EXITS = """\
Exit codes:
  0   every check that applies passed, and at least one ran
  1   at least one check failed
  2   it could not run: bad argument, not root
  77  NOT RUN: it does not apply to this box; never a pass
"""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What is checked of a layer, by role."""

    title: str
    roles: Mapping[str, Callable[[Report], None]]


CHECKED = {
    1: Layer(title="operating system, access, firewall, Docker, Python", roles=layer1.ROLES),
    2: Layer(title="the NVIDIA driver and the CUDA toolkit", roles=layer2.ROLES),
    3: Layer(title="GPUs in containers", roles=layer3.ROLES),
    4: Layer(title="each framework starts in its own environment", roles=layer4.ROLES),
    5: Layer(title="dashboard, login line and the timer of these checks", roles=layer5.ROLES),
}


def main() -> int:
    """Check the layer of the first argument, print the results and return the exit code."""
    number = int(sys.argv[1])
    program, layer = f"health-check-layer{number}.sh", CHECKED[number]
    options = read_options(program, number, layer, sys.argv[2:])
    if os.geteuid() != 0 and not SIMULATED_ROOT:
        sys.stderr.write(f"{program}: needs root: sudo {program}\n")
        return EXIT_CANNOT_RUN
    report = Report(
        check=f"layer{number}",
        evidence="simulated" if is_simulated() else "cpu",
        live=not options.json,
    )
    check_layer(report, number, layer)
    sys.stdout.write((render_json(report) if options.json else render_summary(report)) + "\n")
    return EXIT_CODES[report.outcome]


def read_options(
    program: str, number: int, layer: Layer, arguments: list[str]
) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=f"Check layer {number} of this box: {layer.title}.\n"
        "Prints one line a check: OK, FAIL or SKIP, its name, what was seen.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    return parser.parse_args(arguments)


def check_layer(report: Report, number: int, layer: Layer) -> None:
    """Make the checks of the roles that the layer was applied with."""
    if not LAYERS.exists():
        report.not_run(f"no layer is recorded on this box ({LAYERS} is missing)")
        return
    try:
        roles = recorded_roles(number)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        report.fail("record of layers", f"{LAYERS} cannot be read")
        return
    if roles is None:
        report.not_run(f"layer {number} is not installed on this box")
        return
    for role, check in layer.roles.items():
        if role in roles:
            check(report)
        else:
            report.skip(f"role {role}", "this box has the layer without it")


def recorded_roles(number: int) -> set[str] | None:
    """Return the roles that a layer was applied with; None when it was not applied."""
    recorded = json.loads(LAYERS.read_text(encoding="utf-8"))["layers"].get(str(number))
    return None if recorded is None else set(recorded["roles"])
