"""Boots two clones of the sealed artifact itself, side by side, and compares what they are."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cube.config import Spec
from cube.disks import qcow2
from cube.machines import BUILD_USER, Firmware, Machine, MachineRequest, Machines, Seed, ssh
from cube.machines.qemu import firmware
from cube.provision import pytest_run
from cube.provision.pytest_run import CheckRun
from cube.runtime import check_report, log
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import MachineError, ProofError
from cube.seal import image_facts, leaks, secure_boot
from cube.seal.clones import (
    GROW_BYTES,
    Clone,
    Seen,
    answer,
    expect_grown,
    expect_name,
    look,
    refuse_build_key,
    refuse_likeness,
)
from cube.seal.image_facts import ImageFacts
from cube.seal.leaks import Needle
from cube.seal.reboot_test import SecondBoot

#: Memory of a clone, in MiB.
MEMORY_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A clone that is to be booted; `marker` selects its checks."""

    name: str
    firmware: Firmware
    marker: str


def plans() -> tuple[Plan, Plan]:
    """Return the two clones: one boots by BIOS, one by UEFI, with Secure Boot where that can be.

    Every check is judged on one of the clones, and what makes a clone is on both. They share the
    work, because a guest without KVM answers slowly: each has a processor of its own.
    """
    second: Firmware = "secure-boot" if firmware.has_secure_boot() else "uefi"
    return (
        Plan(name="cube-proof-1", firmware="bios", marker="not layer5"),
        Plan(name="cube-proof-2", firmware=second, marker="layer5 or clone"),
    )


#: Which of them is booted a second time: the one with fewer checks.
AGAIN = 1


@dataclass(frozen=True, kw_only=True)
class ProofRequest:
    """What is proven.

    Args:
        artifact: the compressed file; it is only read.
        root_bytes: size of its root file system, as `cube.seal.sealing.inspect` saw it.
        build_key: private key that the pipeline used while building.
        spec: names the admin user, and what is expected.
        work: folder for overlays, keys and the machines' folders.
        results: folder of pytest's logs.
        wanted: what the build knows, and no boot may write.
    """

    artifact: Path
    root_bytes: int
    build_key: Path
    spec: Spec
    work: Path
    results: Path
    wanted: tuple[Needle, ...]

    @property
    def key_file(self) -> Path:
        """Private key of the clones' admin, made anew for the proof."""
        return self.work / "admin.key"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What all clones showed, and how long it took."""

    clones: tuple[Clone, ...]
    secure_boot: secure_boot.SecureBootProof
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Proven:
    """The proof, what the image is by its own account, and the checks it passed."""

    proof: Proof
    facts: ImageFacts
    checks: CheckReport


@dataclass(frozen=True, kw_only=True)
class Booted:
    """A clone that is up: seconds until it let the admin in, and what it said of itself."""

    plan: Plan
    machine: Machine
    seconds: float
    seen: Seen


def prove(request: ProofRequest, machines: Machines) -> Proven:
    """Boot two clones and hold them to what is promised.

    Args:
        request: what is proven.
        machines: boots virtual machines.

    Raises:
        ProofError: a fact is not as promised, or a clone did not boot.
        SealError: a clone wrote what only the build knows.
        CheckError: a check failed on a clone.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        booted = boot_all(request, machines, stack)
        refuse_likeness([one.seen for one in booted])
        search_writes(request, booted)
        reports, again_s = check_all(request, booted)
        shown = [judge(request, one, report) for one, report in zip(booted, reports, strict=True)]
        facts = image_facts.detect(lambda command: answer(booted[0].machine, command))
    shown[AGAIN] = replace(shown[AGAIN], second_boot_seconds=again_s)
    return Proven(
        proof=Proof(
            clones=tuple(shown),
            secure_boot=secure_boot.conclude([clone.secure_boot for clone in shown]),
            seconds=time.monotonic() - started,
        ),
        facts=facts,
        checks=check_report.merge(reports),
    )


def boot_all(
    request: ProofRequest, machines: Machines, stack: contextlib.ExitStack
) -> list[Booted]:
    """Boot every clone side by side; `stack` gets what ends them.

    Raises:
        ProofError: one does not boot, or is not running as it should.
    """
    ssh.make_key(request.key_file)
    with log.step("Booting two clones of the artifact"):
        started = time.monotonic()
        planned = plans()
        up = [stack.enter_context(starting(request, plan, machines)) for plan in planned]
        seconds = [wait_for_boot(machine, started) for machine in up]
    with log.step("Waiting until all their units have settled"):
        return [
            Booted(plan=plan, machine=machine, seconds=taken, seen=look(machine))
            for plan, machine, taken in zip(planned, up, seconds, strict=True)
        ]


def search_writes(request: ProofRequest, booted: Sequence[Booted]) -> None:
    """Search what the first boots wrote: before the checks, which name the build's account.

    All else on a clone's disk is the artifact, whose unused blocks and journal are zeros: a hit
    is something that a clone was told, or brought back.

    Raises:
        SealError: something that only the build knows is there.
    """
    with log.step("Searching what the first boots wrote"):
        for one in booted:
            answer(one.machine, "sudo sync")
            leaks.expect_unwritten(one.machine.disk, request.wanted, one.plan.name)


def check_all(request: ProofRequest, booted: Sequence[Booted]) -> tuple[list[CheckReport], float]:
    """Judge the clones side by side, and boot one again as soon as its own checks have ended.

    Returns:
        A report a clone, and the seconds of the second boot.

    Raises:
        ProofError: the second boot failed, or is another machine's.
        CheckError: a check failed.
    """
    again = SecondBoot(booted[AGAIN].machine, booted[AGAIN].seen)
    with log.step("Checking both clones"):
        reports = pytest_run.run_side_by_side(
            [check_run(request, one) for one in booted],
            on_end=lambda place: again.begin() if place == AGAIN else None,
        )
    return reports, again.finish()


@contextlib.contextmanager
def starting(request: ProofRequest, plan: Plan, machines: Machines) -> Iterator[Machine]:
    """Start a clone on an overlay over the artifact, and remove the overlay afterwards.

    Raises:
        MachineError: it did not start.
    """
    overlay = request.work / f"{plan.name}.qcow2"
    size = qcow2.virtual_bytes(request.artifact) + GROW_BYTES
    qcow2.create_overlay(overlay, request.artifact, size_bytes=size)
    try:
        with machines.start(machine_request(request, plan, overlay)) as machine:
            yield machine
    finally:
        overlay.unlink(missing_ok=True)


def machine_request(request: ProofRequest, plan: Plan, overlay: Path) -> MachineRequest:
    """Return what is asked for a clone: a seed with an identity of its own, one processor."""
    seed = Seed(
        instance_id=f"{plan.name}-{time.time_ns()}",
        hostname=plan.name,
        user=request.spec.admin.user,
        public_key=request.key_file.with_suffix(".key.pub").read_text().strip(),
    )
    return MachineRequest(
        name=plan.name,
        disk=overlay,
        run_dir=request.work / plan.name,
        seed=seed,
        key_file=request.key_file,
        firmware=plan.firmware,
        cpus=1,
        memory_mib=MEMORY_MIB,
        wait=False,
        libvirt_uri=request.spec.build.libvirt_uri,
    )


def wait_for_boot(machine: Machine, started: float) -> float:
    """Wait until the admin's key is let in; return the seconds since `started`.

    Raises:
        ProofError: it does not boot.
    """
    try:
        machine.wait_until_up()
    except MachineError as error:
        raise ProofError(
            f"{machine.name} does not boot from the artifact: {error.message}",
            hint=error.hint,
            details=error.details or machine.console_tail(),
        ) from error
    return time.monotonic() - started


def check_run(request: ProofRequest, booted: Booted) -> CheckRun:
    """Return the checks of one clone."""
    plan = booted.plan
    return CheckRun(
        target=booted.machine.endpoint,
        select=["checks", "checks/clone"],
        marker=plan.marker,
        spec_file=request.spec.file,
        results_dir=request.results,
        name=plan.name,
    )


def judge(request: ProofRequest, booted: Booted, report: CheckReport) -> Clone:
    """Hold one clone to what is promised.

    Raises:
        ProofError: its disk has not grown, its name is wrong, Secure Boot is not on although
            its firmware enforces it, or the build key lets in.
    """
    plan, seen, endpoint = booted.plan, booted.seen, booted.machine.endpoint
    expect_name(plan.name, seen.hostname)
    state = secure_boot.expect(plan.name, plan.firmware, seen.secure_boot)
    grown = expect_grown(plan.name, seen.root_bytes, request.root_bytes)
    # Last: each refusal is a mark against us in the guest's fail2ban.
    for user in (BUILD_USER, request.spec.admin.user):
        refuse_build_key(replace(endpoint, user=user, key_file=request.build_key))
    return Clone(
        name=plan.name,
        firmware=plan.firmware,
        secure_boot=state,
        hostname=seen.hostname,
        machine_id=seen.machine_id,
        host_keys=seen.host_keys,
        disk_bytes=qcow2.virtual_bytes(booted.machine.disk),
        root_bytes=seen.root_bytes,
        grown_bytes=grown,
        build_key_refused=True,
        system_state=seen.state,
        boot_seconds=booted.seconds,
        second_boot_seconds=None,
        checks=report.summary,
    )
