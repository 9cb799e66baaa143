"""What is checked of each part: devices, architecture, operations, memory, training."""

import re
from typing import Any

from guest.suites.processes import Ended
from guest.suites.report import Report
from guest.suites.tensorflow.operations import OPERATIONS

#: Relative to the largest value of the reference. float32 has 24 bits; sums over 512 terms in any
#: order lose less than 512 * 2^-24 = 3e-5 of it. TensorFloat-32 (10 bits) is switched off.
#: Source: Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1.
TOLERANCE = 3e-5
#: Compute capability from which the official wheels are known to be broken, and the evidence.
BLACKWELL = (12, 0)
REFERENCE = "tensorflow/tensorflow#111958, #101746, #89272"


def check_architecture(
    report: Report, gpus: list[dict[str, Any]], built_for: list[str], version: str
) -> None:
    """Check whether the wheel has code for the GPUs."""
    name = "GPU architecture"
    if not gpus:
        report.skip(name, "deferred: there is no GPU whose architecture could be missing")
        return
    found = {tuple(one["capability"]) for one in gpus}
    lacking = sorted(one for one in found if not has_code(one, built_for))
    told = f"TensorFlow {version} has code for {', '.join(built_for) or 'nothing that it tells of'}"
    if not lacking:
        report.record(name, good=True, detail=told)
        return
    wanted = ", ".join(f"sm_{''.join(map(str, one))}" for one in lacking)
    known = ""
    if lacking[-1] >= BLACKWELL:
        known = f"; known: the official wheels up to 2.21 do not run on Blackwell ({REFERENCE})"
    report.record(name, good=False, detail=f"{told}, not for {wanted}{known}")


def has_code(capability: tuple[int, ...], built_for: list[str]) -> bool:
    """Return whether a build has machine code for a GPU.

    Code runs on GPUs of the same major number and a minor one that is not smaller; what a driver
    may compile from PTX at the start is not counted, for there it is known to fail.
    Source: CUDA C++ Programming Guide, "Binary Compatibility".
    """
    major, minor = capability
    codes = [re.fullmatch(r"sm_(\d+)(\d)[af]?", word) for word in built_for]
    return any(one and int(one[1]) == major and int(one[2]) <= minor for one in codes)


def check_operations(report: Report, ended: Ended) -> None:
    """Check the errors of each operation on every device."""
    errors = ended.result.get("errors", {})
    report.figures["relative_errors"] = errors
    for name in OPERATIONS:
        found = errors.get(name)
        if ended.code != 0 or not found:
            report.record(name, good=False, detail=ended.fault)
            continue
        broken = {device: one for device, one in found.items() if isinstance(one, str)}
        if broken:
            device, fault = next(iter(broken.items()))
            report.record(
                name, good=False, detail=f"{len(broken)} of {len(found)} devices: {device}: {fault}"
            )
            continue
        device, worst = max(found.items(), key=lambda item: item[1])
        detail = (
            f"relative error {worst:.1e} on {device}, the worst of {len(found)};"
            f" limit {TOLERANCE:.0e}"
        )
        report.record(name, good=worst <= TOLERANCE, detail=detail)


def check_allocation(report: Report, ended: Ended, mib: int) -> None:
    """Check whether memory of each device kept what was written."""
    wrong = ended.result.get("wrong")
    if ended.code != 0 or wrong is None:
        report.record("allocation", good=False, detail=ended.fault)
    elif wrong:
        device, fault = next(iter(wrong.items()))
        report.record("allocation", good=False, detail=f"{device}: {fault}")
    else:
        count = len(ended.result["devices"])
        report.record(
            "allocation", good=count > 0, detail=f"{mib} MiB on each of {count} devices, read back"
        )


def check_training(report: Report, ended: Ended, devices: int) -> None:
    """Check the training under MirroredStrategy."""
    losses = ended.result.get("losses")
    if ended.code != 0 or not losses:
        report.require("training step", good=False, detail=ended.fault)
    assert losses is not None
    report.figures["losses"] = losses
    copies = ended.result["copies"]
    good = None not in losses and copies == devices
    told = [f"{one:.4f}" if one is not None else "not finite" for one in (losses[0], losses[-1])]
    detail = f"loss {told[0]} to {told[1]} in {len(losses)} steps on {copies} of {devices} devices"
    report.record("training step", good=good, detail=detail)
    different = ended.result["different"]
    count = ended.result["variables"]
    said = f"{count} variables are equal on {copies} devices"
    differ = f"{len(different)} of {count} differ, such as {different[0]}" if different else ""
    if copies == 1:
        report.skip("variables equal", "there is one device: nothing to compare")
        return
    report.record("variables equal", good=not different and count > 0, detail=differ or said)
