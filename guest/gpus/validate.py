"""Check the GPUs of the live box against /etc/cube/expectations.json; see docs/validate.md."""

import argparse
import signal
import sys
from types import FrameType

from guest.checking.report import EXIT_CANNOT_RUN, EXIT_CODES, render_json
from guest.gpus import device, idle, load, pcie, status, system, watch
from guest.gpus.device import Gpu
from guest.gpus.inventory import Inventory, read_inventory
from guest.gpus.machine import Bus, Machine, find_machine, read_bus
from guest.gpus.nvidia_smi import SmiError, query_details, query_known
from guest.gpus.report import MACHINE, Report, names, not_run, render_text
from guest.gpus.system import Expectations

LOAD_S, QUICK_LOAD_S = 10.0, 3.0
#: An idle GPU has this long to cool after work, in seconds: without load it is read twice. With
#: load, all that is waited for fits into the 300 s (quick: 180) that stage 4 gives.
SETTLE_S, QUICK_SETTLE_BEFORE_LOAD_S, SETTLE_BEFORE_LOAD_S = 1.0, 30.0, 90.0

USAGE = """\
validate-gpus.sh [--json] [--load] [--quick] [--seconds N]

Check the GPUs: count, model, memory, driver, temperature, persistence, link, errors.
One line a check: OK, FAIL or SKIP, its name, what was seen. Without --load it only reads, and
takes seconds; no program on the GPUs is disturbed.
"""
EXITS = """\
Exit codes:
  0   every check that applies passed, and at least one ran
  1   at least one check failed
  2   it could not run: bad argument, no expectations
  77  NOT RUN: there is no NVIDIA GPU; never a pass
"""


def main() -> int:
    """Check, print and return the exit code."""
    options = read_options()
    signal.signal(signal.SIGTERM, stop)
    machine = find_machine()
    bus = read_bus(machine)
    try:
        report = check(machine, bus, options) if bus.gpus else absent(bus)
    except ValueError as error:
        sys.stderr.write(f"validate-gpus.sh: {error}\n")
        return EXIT_CANNOT_RUN
    print(render_json(report) if options.json else render_text(report))  # noqa: T201 (its output)
    return EXIT_CODES[report.outcome]


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="validate-gpus.sh",
        usage=USAGE,
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument(
        "--load",
        action="store_true",
        help="keep all GPUs busy, too: link, bandwidth, clocks; needs PyTorch's environment",
    )
    parser.add_argument("--quick", action="store_true", help=f"a load of {QUICK_LOAD_S:g} s only")
    parser.add_argument(
        "--seconds", type=positive, metavar="N", help=f"how long the load lasts [{LOAD_S:g}]"
    )
    return parser.parse_args()


def positive(text: str) -> float:
    """Return a number of seconds that a load may last.

    Raises:
        ValueError: it is none.
    """
    seconds = float(text)
    if not 0 < seconds <= watch.LONGEST_S:
        raise ValueError(text)
    return seconds


def stop(_signal: int, _frame: FrameType | None) -> None:
    """Leave in the way in which the load is ended, too."""
    sys.exit(EXIT_CANNOT_RUN)


def absent(bus: Bus) -> Report:
    """Report that there is nothing to check."""
    ids = ", ".join(sorted(set(bus.others)))
    others = f", only display controllers of other vendors ({ids})" if ids else ""
    return not_run(f"there is no NVIDIA GPU on the PCI bus{others}")


def check(machine: Machine, bus: Bus, options: argparse.Namespace) -> Report:
    """Make all checks.

    Raises:
        ValueError: what is expected of this machine cannot be read.
    """
    expected = system.read_expectations(machine)
    report = Report(evidence="simulated" if machine.simulated else "hardware")
    inventory = Inventory(bus=bus)
    try:
        inventory = read_gpus(report, machine, bus)
        ask_about(report, machine, inventory, expected, options)
    except SmiError as error:
        report.checks.pop("driver answers", None)
        report.settle("driver answers", error.found)
    gpus, models = inventory.gpus, inventory.models
    system.check_bus(report, bus, models, expected=expected.count)
    answered = next((gpu.values["driver_version"] for gpu in gpus if not gpu.lost), "")
    system.check_versions(report, machine, answered=answered)
    system.check_container_runtime(report, machine)
    system.check_kernel_log(report, machine, models)
    report.figures["gpus"] = [render_gpu(gpu) for gpu in gpus]
    count = max(expected.count, *(gpu.index + 1 for gpu in gpus), 0)
    report.complete(names(count, load=options.load), lambda name: reason(name, gpus))
    return report


def read_gpus(report: Report, machine: Machine, bus: Bus) -> Inventory:
    """Read the GPUs that the driver sees or warns of, and say whether it answers.

    Raises:
        SmiError: it does not.
    """
    inventory = read_inventory(machine, bus)
    report.settle("driver answers", inventory.found, detail=f"driver {inventory.driver}")
    known = query_known(machine, device.OPTIONAL)
    for gpu in inventory.gpus:
        gpu.values.update(known.get(str(gpu.index), {}))
        report.labels[gpu.index] = (gpu.address, gpu.model)
    return inventory


def ask_about(
    report: Report,
    machine: Machine,
    inventory: Inventory,
    expected: Expectations,
    options: argparse.Namespace,
) -> None:
    """Make the checks for which nvidia-smi answers, in the order in which load changes nothing.

    Raises:
        SmiError: it does not answer any more.
    """
    gpus = inventory.gpus
    system.check_seen(report, inventory, expected=expected.count)
    whole = [gpu for gpu in gpus if not gpu.lost]
    for gpu in gpus:
        if gpu.lost:
            idle.check_gpu(report, gpu, machine)
    if not whole:
        return
    system.check_models(report, whole, expected=expected.model)
    status.check_processes(report, whole, machine)
    idle.settle(machine, whole, limit_s=settle_s(options))
    for gpu in whole:
        idle.check_memory(report, gpu, least_mib=expected.memory_mib)
        idle.check_temperature(report, gpu, settled=options.load)
    idle.check_throttling(report, whole, machine)
    system.check_p2p(report, machine, gpus=len(whole))
    if options.load:
        seconds = options.seconds or (QUICK_LOAD_S if options.quick else LOAD_S)
        load.check_load(report, machine, whole, seconds=seconds)
    for gpu in whole:  # after the load: it may have left errors
        idle.check_gpu(report, gpu, machine)
    details = query_details(machine)
    pcie.check_replays(report, whole, details)
    status.check_status(report, whole, details, query_known(machine, tuple(device.STATUS)))


def settle_s(options: argparse.Namespace) -> float:
    """Return how long a warm GPU may cool, in seconds."""
    if not options.load:
        return SETTLE_S
    return QUICK_SETTLE_BEFORE_LOAD_S if options.quick else SETTLE_BEFORE_LOAD_S


def reason(name: str, gpus: list[Gpu]) -> str:
    """Say why a check was not made."""
    if not gpus:
        return "the driver does not answer"
    if name in MACHINE or name == "load":
        return "no GPU answers"
    index = int(name.split()[1])
    gpu = next((gpu for gpu in gpus if gpu.index == index), None)
    if gpu is None:
        return "the driver does not see this GPU"
    return "this GPU is lost" if gpu.lost else "nvidia-smi does not answer any more"


def render_gpu(gpu: Gpu) -> dict[str, object]:
    """Return what is known of a GPU, with units in the names."""
    words = {
        "name": "name",
        "uuid": "uuid",
        "pci_address": "pci.bus_id",
        "serial": "serial",
        "vbios": "vbios_version",
    }
    numbers = {
        "memory_mib": "memory.total",
        "temperature_celsius": "temperature.gpu",
        "power_watts": "power.draw",
        "pcie_generation_limit": "pcie.link.gen.max",
        "pcie_lanes_limit": "pcie.link.width.max",
    }
    return {
        "index": gpu.index,
        **{key: gpu.values.get(field, "") for key, field in words.items()},
        **{key: gpu.number(field) for key, field in numbers.items()},
        **gpu.figures,
    }
