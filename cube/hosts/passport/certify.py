"""Certifies a unit: hardware must settle every check that its image had to put off."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from cube import __version__
from cube.config import Spec
from cube.hosts import apply, remote
from cube.hosts.passport import unit
from cube.hosts.passport.unit import Unit
from cube.hosts.target import Box
from cube.hosts.validation import validation
from cube.hosts.validation.validation import Validation, Wanted
from cube.provision import pytest_run
from cube.provision.pytest_run import CheckRun
from cube.runtime import log
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import PassportError
from cube.seal.manifest import plain_object, timestamp

SCHEMA_ID = "urn:vault-cube:passport:1"
#: What a unit must be judged on.
HARDWARE = "hardware"


@dataclass(frozen=True, kw_only=True)
class Certified:
    """A unit that hardware has settled, but for the suites that are named as exceptions."""

    unit: Unit
    checks: CheckReport
    suites: Validation
    exceptions: tuple[str, ...] = ()


def certify(
    spec: Spec,
    box: Box,
    manifest: Mapping[str, Any],
    wanted: Wanted,
    exceptions: tuple[str, ...] = (),
) -> Certified:
    """Judge a unit by every check and every suite.

    Args:
        spec: what it is judged by.
        box: that lets us in.
        manifest: of the image that it carries.
        wanted: the suites; all of them, in their full form.
        exceptions: names of suites that may fail: the passport says so.

    Returns:
        The unit, its checks and its suites, all passed on hardware.

    Raises:
        PassportError: it carries another image, or something was not settled on hardware.
        CheckError: a check failed.
        BusyError: another validation is running there.
        MachineError: it does not answer.
    """
    refuse_virtual(box)
    found = unit.look(box)
    refuse_other_image(box.name, found, manifest)
    with log.step(f"Checking {box.name}"):
        checks = run_checks(spec, box)
    refuse_unsettled(box.name, checks, manifest)
    suites = validation.validate(box, wanted)
    refuse_suites(suites, exceptions)
    return Certified(unit=found, checks=checks, suites=suites, exceptions=exceptions)


def refuse_virtual(box: Box) -> None:
    """Refuse a machine that is none of its own before an hour of suites, not after.

    Source: systemd-detect-virt(1), EXIT STATUS

    Raises:
        PassportError: it is virtual, or a container.
    """
    found = remote.execute(box, "systemd-detect-virt", accept=(0, 1))
    if found.returncode == 0:
        raise PassportError(
            f"{box.name} cannot be certified: it is virtual ({found.stdout.strip()}),"
            " and would not be judged on hardware",
            hint="a passport is for a box on a desk: certify that",
        )


def run_checks(spec: Spec, box: Box) -> CheckReport:
    """Judge a box by all checks of all layers.

    Raises:
        CheckError: one failed, or none ran.
    """
    return pytest_run.run_checks(
        CheckRun(
            target=box.endpoint,
            select=["checks"],
            marker="not stage4",
            name="certify",
            spec_file=spec.file,
            results_dir=apply.results_folder(spec, box),
        )
    )


def refuse_other_image(name: str, found: Unit, manifest: Mapping[str, Any]) -> None:
    """Hold the layers that a unit claims against those of an image.

    Raises:
        PassportError: they are others.
    """
    image = manifest["image"]
    told = f"{image['name']} {image['version']} of {image['built_at']}"
    wanted = {
        layer["number"]: layer["key"]
        for layer in manifest["layers"]
        if layer["status"] == "applied"
    }
    for number, key in wanted.items():
        entry = found.layers.entry(number)
        if entry is None or entry.key != key:
            carried = f"key {entry.key[:12] or 'unknown'}" if entry else "none"
            raise PassportError(
                f"{name} does not carry {told}: its layer {number} has {carried},"
                f" the image's is {str(key)[:12]}",
                hint="name the manifest of its own image: --manifest FILE",
            )


def refuse_unsettled(name: str, checks: CheckReport, manifest: Mapping[str, Any]) -> None:
    """Accept a unit only when each check passed on hardware, those put off before included.

    Raises:
        PassportError: one did not.
    """
    weak = {check.evidence for check in checks.checks} - {HARDWARE}
    if weak:
        raise PassportError(
            f"{name} cannot be certified: its checks were judged on {', '.join(sorted(weak))},"
            " not on hardware",
            hint="a passport is for a box on a desk: certify that",
        )
    passed = {check.id for check in checks.having("passed")}
    open_ones = [
        check["id"]
        for check in manifest["checks"]["results"]
        if check["outcome"] == "deferred" and check["id"] not in passed
    ] + [check.id for check in checks.having("deferred")]
    if open_ones:
        raise PassportError(
            f"{name} cannot be certified: {len(set(open_ones))} checks are still open:"
            f" {open_ones[0]}",
            hint="each says what it needs: pytest checks/ --hosts=NAME -rs",
            details="\n".join(dict.fromkeys(open_ones)),
        )


def refuse_suites(found: Validation, exceptions: tuple[str, ...] = ()) -> None:
    """Accept suites only when all passed, in full, on hardware, with nothing put off.

    Args:
        found: what the suites found.
        exceptions: names of suites that may fail; on hardware they must have run all the same.

    Raises:
        PassportError: one did not.
    """
    for one in found.results:
        if one.outcome != "pass" and not (one.suite in exceptions and one.outcome == "fail"):
            raise PassportError(f"{found.box} cannot be certified: {one.suite} {one.summary}")
        if one.evidence != HARDWARE:
            raise PassportError(
                f"{found.box} cannot be certified: {one.suite} ran on {one.evidence}"
            )
        deferred = [row for row in one.findings if row.deferred]
        if deferred:
            raise PassportError(
                f"{found.box} cannot be certified: {one.suite} put off"
                f" {deferred[0].name}: {deferred[0].detail}"
            )
    if found.quick:
        raise PassportError(f"{found.box} cannot be certified by the short forms of the suites")


def compose(manifest: Mapping[str, Any], found: Certified) -> dict[str, Any]:
    """Return a passport as JSON-like data."""
    artifact = manifest["artifact"]
    failed = [one.suite for one in found.suites.results if one.outcome != "pass"]
    return plain_object(
        {
            "schema": SCHEMA_ID,
            "verdict": "certified with exceptions" if failed else "certified",
            "exceptions": failed,
            "box": found.suites.box,
            "made": timestamp(datetime.now(UTC)),
            "cube": __version__,
            "image": {**manifest["image"], "sha256": artifact["sha256"], "key": manifest["key"]},
            "unit": found.unit.firmware,
            "layers": [asdict(entry) for entry in found.unit.layers.entries],
            "checks": {
                "passed": len(found.checks.having("passed")),
                "settled": sorted(
                    check["id"]
                    for check in manifest["checks"]["results"]
                    if check["outcome"] == "deferred"
                ),
            },
            "suites": [
                {
                    "suite": one.suite,
                    "outcome": one.outcome,
                    "evidence": one.evidence,
                    "seconds": one.seconds,
                    "versions": one.versions,
                    "figures": one.figures,
                    "checks": [asdict(row) for row in one.findings],
                }
                for one in found.suites.results
            ],
        }
    )
