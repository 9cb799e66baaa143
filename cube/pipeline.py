"""The build: five stages, each a gate; what fails stops it and says what to do."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cube import finalize, lock, log, manifest, packer, progress, seal, ssh, verify
from cube.chain import BASE, Chain, link_name
from cube.errors import CubeError
from cube.failure import explained
from cube.findings import CheckReport
from cube.layers import LayerBuilder, LayerRecord, read_records
from cube.machines import Machine, MachineRequest, leftovers, record
from cube.machines.choose import choose
from cube.machines.choose import down as stop_machine
from cube.spec import Spec
from cube.workspace import Workspace

STAGES = {
    1: "pre-build validation",
    2: "the bare OS",
    3: "provisioning",
    4: "testing",
    5: "finalization",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a build that succeeded leaves behind."""

    workspace: Workspace
    seconds: float
    verdict: str

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        names = ("artifact", "checksum", "manifest", "report", "log")
        paths = {name: str(getattr(self.workspace, name)) for name in names}
        return {**paths, "seconds": round(self.seconds, 1), "verdict": self.verdict}

    def summary(self) -> str:
        """Return it for a person."""
        rows = [f"  {name:9} {path}" for name, path in self.as_json().items() if "/" in str(path)]
        took = progress.duration(self.seconds)
        return "\n".join([f"{self.workspace.name} is {self.verdict} ({took})", *rows])


def build(spec: Spec, *, keep: bool = False, start: str = "") -> Result:
    """Build, prove and seal an image.

    Args:
        spec: what to build.
        keep: leave the machine running when a step in it fails.
        start: name of a frozen link of the build before to go on from; empty begins anew.

    Raises:
        CubeError: a gate failed; nothing has its final name but what is whole.
    """
    work = Workspace.of(spec)
    timeline = progress.Timeline()
    with (
        lock.held(work.root / "lock"),
        progress.log_file(work.log),
        log.listening(timeline),
        explained(spec, work, timeline),
    ):
        return Build(spec=spec, work=work, timeline=timeline, keep=keep).run(start)


def head(records: Sequence[LayerRecord]) -> str:
    """Return the name of the last link."""
    applied = [record.layer for record in records if not record.skipped]
    return link_name(max(applied)) if applied else BASE


@dataclass(frozen=True, kw_only=True)
class Build:
    """One run of the pipeline."""

    spec: Spec
    work: Workspace
    timeline: progress.Timeline
    keep: bool

    @property
    def chain(self) -> Chain:
        """The links."""
        return Chain(folder=self.work.chain)

    def run(self, start: str) -> Result:
        """Go through the stages."""
        started = time.monotonic()
        for cleared in leftovers.clear(self.work.machines):
            log.info(f"cleared what an earlier run left: {cleared}")
        with self.stage(1):
            verify.verify(self.spec)
            self.prepare(start)
        with self.stage(2):
            self.base(start)
        with self.stage(3):
            records = self.layers(start or BASE)
        with contextlib.ExitStack() as stack:
            with self.stage(4):
                machine = stack.enter_context(self.boot(self.chain.extend(head(records))))
                report = finalize.validate(machine, self.spec, self.work)
            with self.stage(5):
                seal.clean(machine, self.spec, work=self.work.machines)
                stack.close()
                self.finish(records, report, machine.disk)
        self.clear()
        return Result(
            workspace=self.work, seconds=time.monotonic() - started,
            verdict=manifest.read(self.work.manifest)["status"],
        )  # fmt: skip

    def finish(self, records: list[LayerRecord], report: CheckReport, disk: Path) -> None:
        """Seal, prove and publish; only then does anything get its final name."""
        begun = time.monotonic()
        sealed = finalize.seal_disk(disk, self.spec, self.work)
        proven = finalize.prove(sealed, self.spec, self.work)
        times = {**self.timeline.stage_seconds(), 5: time.monotonic() - begun}
        data = finalize.compose(
            self.spec, self.work, records=records, reports=[report], sealed=sealed, proven=proven,
            stages=[
                manifest.Stage(number=number, name=name, seconds=times[number])
                for number, name in STAGES.items()
            ],
            choice=choose(self.spec.build.machine),
        )  # fmt: skip
        with log.step("Publishing"):
            finalize.publish(data, sealed, self.work)

    def clear(self) -> None:
        """Remove what a build that succeeded needs no more; the chain stays."""
        self.chain.discard()
        shutil.rmtree(self.work.secrets, ignore_errors=True)

    @contextlib.contextmanager
    def stage(self, number: int) -> Iterator[None]:
        """Frame a stage."""
        with log.step(f"Stage {number}: {STAGES[number]}", stage=number):
            yield

    def prepare(self, start: str) -> None:
        """Remove what the new build will make anew; what was published stays until then."""
        self.work.chain.mkdir(parents=True, exist_ok=True)
        if start:
            self.chain.require(start)
        self.chain.cut(start or None)
        for folder in (self.work.results, self.work.secrets):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.work.secrets.chmod(0o700)
        ssh.make_key(self.work.build_key)

    def base(self, start: str) -> None:
        """Make the bare OS, unless the build goes on from a link."""
        if start:
            log.info(f"going on from {start}: the bare OS of the build before is kept")
            return
        packer.build_base(self.spec, self.work, key_file=self.work.build_key)

    def layers(self, parent: str) -> list[LayerRecord]:
        """Make the links above `parent`; those up to it are taken over with their records."""
        enabled = sorted(self.spec.layers.enabled)
        done = read_records(self.chain, enabled)
        todo = [layer for layer in enabled if layer > max((one.layer for one in done), default=0)]
        builder = LayerBuilder(
            spec=self.spec, chain=self.chain, boot=self.boot, results=self.work.results
        )
        return done + builder.build(todo, parent)

    @contextlib.contextmanager
    def boot(self, disk: Path) -> Iterator[Machine]:
        """Boot a disk of the chain; when a step fails in it, say how to look into it."""
        choice = choose(self.spec.build.machine)
        log.debug(f"machine: {choice.reason}")
        request = MachineRequest(
            name=MACHINE, disk=disk, run_dir=self.work.machines / MACHINE,
            key_file=self.work.build_key, cpus=self.spec.build.cpus,
            memory_mib=self.spec.build.memory, libvirt_uri=self.spec.build.libvirt_uri,
            detached=self.keep,
        )  # fmt: skip
        try:
            with choice.machines.start(request) as machine:
                yield machine
        except CubeError as error:
            look = KEPT if self.keep else LOOK
            error.hint = "; ".join(filter(None, [error.hint, look]))
            raise
        except BaseException:
            self.stop_kept()
            raise
        self.stop_kept()

    def stop_kept(self) -> None:
        """Stop a machine that `keep` would have left up, now that nothing has failed in it."""
        for machine in record.running(self.work.machines):
            if machine.name == MACHINE and machine.detached:
                stop_machine(machine)


#: The name of the machine that a build works in.
MACHINE = "build"
LOOK = "look into its disk: cube up --at failed, cube ssh"
KEPT = "the machine is still up: cube ssh, then cube down"
