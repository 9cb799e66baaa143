"""Stage 1: everything that can be known to be wrong before minutes are spent."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cube import baseimage
from cube.baseimage.packer.seed import check_seed
from cube.baseimage.ubuntu import autoinstall
from cube.build import doctor, roles_gate, stack_gate
from cube.config import Spec, unfit_ca_files
from cube.config.workspace import Workspace
from cube.machines.seed import build_seed, render_user_data
from cube.provision import pyinfra_run
from cube.runtime import log, run
from cube.runtime.errors import CubeError, VerifyError
from cube.runtime.units import counted

#: A key in the right form for templates that are only looked at. It opens nothing.
SAMPLE_KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43} sample"

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One thing that is verified.

    Args:
        name: in words.
        problems: returns what is wrong.
        patient: it may wait for a network: not in a thread, so that Ctrl-C ends it at once.
    """

    name: str
    problems: Callable[[Spec], list[str]]
    patient: bool = False


def host(spec: Spec) -> list[str]:
    """Tools, rights, disk and memory of this machine."""
    lacking = [one for one in doctor.examine(spec) if one.level == "lack"]
    for why in unfit_ca_files(spec):
        log.warning(f'{spec.file}: network.ca_certificates = "host": left out: {why}')
    return [
        f"{spec.file}: {one.subject}: {one.text}: {one.remedy}"
        if one.asked
        else f"{one.subject}: {one.text} -> {one.remedy}"
        for one in lacking
    ]


def templates(spec: Spec) -> list[str]:
    """`packer validate` for every template."""
    baseimage.validate(spec, Workspace.of(spec))
    return []


def unattended(spec: Spec) -> list[str]:
    """What the first boot is told, against a strict model."""
    if spec.image.os == "ubuntu-24.04" and spec.os.ubuntu:
        answers = autoinstall.render_user_data(spec, SAMPLE_KEY)
        problems = autoinstall.check_user_data(answers)
        if schema := spec.os.ubuntu.autoinstall_schema:
            problems += autoinstall.check_schema(answers, schema)
        return problems
    return check_seed(render_user_data(build_seed(SAMPLE_KEY)))


def roles(spec: Spec) -> list[str]:
    """Roles without which an image cannot be sealed, or another role cannot be applied."""
    return roles_gate.examine(spec)


def stack(spec: Spec) -> list[str]:
    """Versions, locks and disk of the GPU stack, offline."""
    return [f"{spec.file}: {problem}" for problem in stack_gate.examine(spec)]


def layers(spec: Spec) -> list[str]:
    """Every deploy module, run without a machine."""
    return pyinfra_run.dry_run_offline(spec)


def lint(spec: Spec) -> list[str]:  # noqa: ARG001 (one signature)
    """Style of the code that will run as root."""
    paths = ["deploy", "guest", "checks", "inventory.py"]
    argv = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--output-format",
        "concise",
        *paths,
    ]
    done = run.run(argv, accept=(0, 1), cwd=PROJECT)
    return [] if done.returncode == 0 else done.stdout.strip().splitlines()


class Beside:
    """A gate that is asked in a thread; the time of its step is what was still waited for."""

    def __init__(self, pool: ThreadPoolExecutor, gate: Gate, spec: Spec) -> None:
        """Begin."""
        self._events: list[log.Event] = []
        self._found = pool.submit(self._ask, gate, spec)

    def _ask(self, gate: Gate, spec: Spec) -> list[str]:
        started = time.monotonic()
        with log.apart(self._events.append):
            problems = found(gate, spec)
            log.debug(f"{gate.name}: {time.monotonic() - started:.1f} s beside the others")
        return problems

    def result(self) -> list[str]:
        """Return what it finds, and tell what it told meanwhile."""
        try:
            return self._found.result()
        finally:
            for event in self._events:
                log.emit(event.kind, event.text, event.data, seconds=event.seconds)


def found(gate: Gate, spec: Spec) -> list[str]:
    """Return what a gate finds; that it could not look is a problem too."""
    try:
        return gate.problems(spec)
    except CubeError as error:
        return ["\n".join(filter(None, (error.message, error.details, error.hint)))]


#: The patient one first: the others are asked meanwhile.
GATES = (
    Gate(name="Packer accepts every template", problems=templates, patient=True),
    Gate(name="This machine has what a build needs", problems=host),
    Gate(name="The unattended installation is well formed", problems=unattended),
    Gate(name="The roles fit together", problems=roles),
    Gate(name="The GPU stack can work", problems=stack),
    Gate(name="Every layer runs offline", problems=layers),
    Gate(name="The code is clean", problems=lint),
)


def verify(spec: Spec) -> None:
    """Run all gates at once, then stop if any found something.

    Raises:
        VerifyError: what is wrong, all of it.
    """
    problems: list[str] = []
    with ThreadPoolExecutor(len(GATES)) as pool:
        beside = {gate.name: Beside(pool, gate, spec) for gate in GATES if not gate.patient}
        for gate in GATES:
            with log.step(gate.name):
                told = found(gate, spec) if gate.patient else beside[gate.name].result()
            for problem in told:
                log.warning(problem.splitlines()[0])
            problems += [f"{gate.name}: no. {problem}" for problem in told]
    if problems:
        raise VerifyError(
            f"verification found {counted(len(problems), 'problem')}; nothing was built",
            hint="fix them and run 'cube verify' again ('make setup' installs tools)",
            details="\n".join(problems),
        )
