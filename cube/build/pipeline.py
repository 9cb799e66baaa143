"""The build: five stages, each a gate; what fails stops it and says what to do."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cube import baseimage
from cube.build import finalize, verify
from cube.build.build_machine import Workbench
from cube.build.failure_report import explained
from cube.build.layers import LayerBuilder
from cube.build.result import Result
from cube.build.timeline import Timeline
from cube.build.trace import recording
from cube.chain.key import keys
from cube.chain.plan import Plan, Planner
from cube.chain.store import prune
from cube.chain.store.link import Link
from cube.chain.store.links import Store
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines import cleanup, ssh
from cube.machines.choose import choose
from cube.runtime import hardware, lock, log, progress, units
from cube.runtime.check_report import CheckReport
from cube.runtime.errors import CubeError
from cube.seal import manifest, sealing
from cube.supply import package_cache, prefetch, wheel_cache
from cube.supply.package_cache import PackageCache
from cube.supply.wheel_cache import WheelCache

STAGES = {
    1: "pre-build validation",
    2: "the bare OS",
    3: "provisioning",
    4: "testing",
    5: "finalization",
}


def build(spec: Spec, *, keep: bool = False, fresh: bool = False, to: str = "") -> Result:
    """Build, prove and seal an image; what was made before of the same ingredients is reused.

    Args:
        spec: what to build.
        keep: leave the machine running when a step in it fails.
        fresh: make everything anew.
        to: name of the link to end with: nothing is sealed; empty makes the image.

    Raises:
        CubeError: a gate failed; nothing has its final name but what is whole.
    """
    work = Workspace.of(spec)
    timeline = Timeline()
    with (
        lock.held(work.root / "lock"),
        progress.log_file(work.log),
        recording(timeline, work),
        explained(spec, work, timeline),
    ):
        asked = Build(spec=spec, work=work, timeline=timeline, keep=keep, fresh=fresh, to=to)
        return asked.run()


@dataclass(frozen=True, kw_only=True)
class Build:
    """One run of the pipeline."""

    spec: Spec
    work: Workspace
    timeline: Timeline
    keep: bool
    fresh: bool
    to: str

    @property
    def store(self) -> Store:
        """The links."""
        return Store(folder=self.work.chain)

    @property
    def workbench(self) -> Workbench:
        """Where its machines are booted."""
        return Workbench(spec=self.spec, work=self.work, keep=self.keep)

    @cached_property
    def planner(self) -> Planner:
        """What is there already, on the machines that this build will use."""
        return planner(self.spec, self.store, fresh=self.fresh, to=self.to)

    def run(self) -> Result:
        """Go through the stages."""
        started = time.monotonic()
        for cleared in cleanup.clear(self.work.machines):
            log.info(f"removed leftovers of an earlier run: {cleared}")
        self.workbench.require_down()
        self.store.prepare()
        with self.stage(1):
            verify.verify(self.spec)
            plan = self.planner.plan()
            if not self.to and self.published(plan):
                log.info("nothing has changed: the image is up to date")
                return self.result(started, self.status(), made=False)
            plan = self.trust()
            self.prepare()
        links = self.links(plan)
        if self.to:
            self.clear()
            return self.result(started, f"there up to {head(links).name}", made=bool(plan.todo))
        self.seal(links)
        self.clear()
        self.prune()
        return self.result(started, self.status(), made=True)

    def seal(self, links: Sequence[Link]) -> None:
        """Judge the whole, and make the image of it: stages 4 and 5."""
        with contextlib.ExitStack() as stack:
            with self.stage(4):
                machine = stack.enter_context(self.workbench.boot(self.store.extend(head(links))))
                report = finalize.validate(machine, self.spec, self.work)
            with self.stage(5):
                with log.step("Stopping the machine"):
                    machine.shutdown()
                stack.close()
                sealing.clean(
                    machine.disk,
                    self.spec,
                    key_file=self.work.build_key,
                    work=self.work.machines,
                )
                self.finish(links, report, machine.disk)

    def status(self) -> str:
        """Return what the manifest says of the published image."""
        return str(manifest.read(self.work.manifest)["status"])

    def result(self, started: float, verdict: str, *, made: bool) -> Result:
        """Describe what there is now."""
        return Result(
            workspace=self.work,
            seconds=time.monotonic() - started,
            made=made,
            verdict=verdict,
            sealed=not self.to,
            reused=self.timeline.reused_names(),
            saved_seconds=self.timeline.saved_seconds(),
        )

    def finish(self, links: Sequence[Link], report: CheckReport, disk: Path) -> None:
        """Seal, prove and publish; only then does anything get its final name."""
        sealed = finalize.seal_disk(disk, self.spec, self.work)
        proven = finalize.prove(sealed, self.spec, self.work)
        stages = self.timeline.stages()
        data = finalize.compose(
            self.spec,
            self.work,
            links=links,
            reused=self.timeline.reused_keys(),
            key=self.image_key(head(links)),
            reports=[report],
            sealed=sealed,
            proven=proven,
            stages=[
                manifest.Stage(number=number, name=name, seconds=stages[number].seconds)
                for number, name in STAGES.items()
            ],
            choice=choose(self.spec.build.machine),
        )
        with log.step("Publishing"):
            finalize.publish(data, sealed, self.work, self.timeline)

    def clear(self) -> None:
        """Remove what a build that succeeded needs no more; the chain stays."""
        self.store.discard()
        shutil.rmtree(self.work.secrets, ignore_errors=True)

    def prune(self) -> None:
        """Remove chains that are too old; the image is there, so no obstacle is an error."""
        rule = prune.Rule(keep=self.spec.build.keep_chains)
        try:
            found = prune.prune(self.store, self.work.machines, rule)
        except CubeError as error:
            log.warning(f"older chains were not pruned: {error.message}")
            return
        for link in found.links:
            log.debug(f"pruned {link.folder}")
        if found.links:
            freed = units.size(found.freed_bytes)
            log.info(f"pruned {len(found.links)} links of older chains, freed {freed}")

    @contextlib.contextmanager
    def stage(self, number: int) -> Iterator[None]:
        """Frame a stage."""
        with log.step(f"Stage {number}: {STAGES[number]}", stage=number):
            yield

    def published(self, plan: Plan) -> bool:
        """Tell whether the image that is there is the one that would be built."""
        if plan.todo or not plan.head:
            return False
        with log.step("Comparing the image with its manifest"):
            stale = finalize.stale(self.image_key(plan.head), plan.head, self.work)
        if stale:
            log.info(f"every layer is there, but {stale}")
            return False
        self.store.set_head(plan.head)
        for link in plan.links:
            tell_reused(link)
        finalize.tell_reused(self.work)
        return True

    def image_key(self, head: Link) -> str:
        """Return the key of the image that is sealed from a link."""
        return keys.digest(keys.image_ingredients(self.spec, head=head.key))

    def trust(self) -> Plan:
        """Plan with links whose every byte was read, and say what is reused and what is not."""
        with log.step("Verifying the links that are reused"):
            plan = self.planner.trusted()
        for link in plan.links:
            tell_reused(link)
        if plan.todo:
            log.info(f"to make: {', '.join(plan.todo)}, because of {plan.todo[0]}:")
            for reason in plan.why[:REASONS]:
                log.info(f"  {reason}")
            if len(plan.why) > REASONS:
                log.info(f"  and {len(plan.why) - REASONS} more: cube chain why {plan.todo[0]}")
        return plan

    def prepare(self) -> None:
        """Remove what the new build will make anew; what was published stays until then."""
        self.store.discard()
        for folder in (self.work.results, self.work.secrets):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.work.secrets.chmod(0o700)
        ssh.make_key(self.work.build_key)

    def links(self, plan: Plan) -> list[Link]:
        """Make what is missing of the chain: stages 2 and 3, with downloads that were kept."""
        with contextlib.ExitStack() as stack:
            cache, wheels = None, None
            if plan.todo:
                cache = stack.enter_context(package_cache.opened(self.spec, self.work))
                wheels = stack.enter_context(wheel_cache.opened(self.spec, self.work))
                stack.enter_context(
                    prefetch.loading(self.spec, wheels, todo=plan.todo, gpus=self.planner.gpus)
                )
            with self.stage(2):
                base = self.base(plan, cache)
            with self.stage(3):
                return self.layers(plan, base, cache, wheels)

    def base(self, plan: Plan, cache: PackageCache | None) -> Link:
        """Make the bare OS, unless it is there."""
        if plan.links:
            return plan.links[0]
        started = time.monotonic()
        wanted = keys.base_ingredients(self.spec, refresh=plan.refresh)
        self.store.forget(wanted)
        target = self.store.begin()
        baseimage.build_base(
            self.spec, self.work, key_file=self.work.build_key, target=target, cache=cache
        )
        with log.step("Freezing the base"):
            keys.require_same(wanted, keys.base_ingredients(self.spec, refresh=plan.refresh))
            return self.store.freeze(wanted, seconds=time.monotonic() - started)

    def layers(
        self, plan: Plan, base: Link, cache: PackageCache | None, wheels: WheelCache | None
    ) -> list[Link]:
        """Make the links that are missing; return all of them, the base first."""
        done = list(plan.links) or [base]
        head = plan.head or base
        self.store.set_head(head)
        todo = self.planner.layers[len(done) - 1 :]
        builder = LayerBuilder(
            planner=self.planner,
            boot=self.workbench.boot,
            results=self.work.results,
            cache=cache,
            wheels=wheels,
        )
        made = builder.build(todo, head)
        for link in made:  # above a layer that is skipped anew, there were links that still fit
            if datetime.fromisoformat(link.created) < self.timeline.began_at:
                tell_reused(link)
        return done + made


def head(links: Sequence[Link]) -> Link:
    """Return the highest link that has a disk."""
    return [link for link in links if not link.skipped][-1]


def tell_reused(link: Link) -> None:
    """Say that a link is taken over."""
    entry = asdict(manifest.ChainLink.of(link, reused=True))
    log.reused(f"{link.name} {link.short} is reused: {told(link)}", entry)


def told(link: Link) -> str:
    """Say in a few words what a link is."""
    if link.skipped:
        return f"skipped, {link.skipped}"
    made = datetime.fromisoformat(link.created).strftime("%Y-%m-%d %H:%M UTC")
    return f"made {made} in {units.duration(link.seconds)}"


def planner(spec: Spec, store: Store, *, fresh: bool = False, to: str = "") -> Planner:
    """Return what compares a specification with a store, on the machines that would be used.

    Args:
        spec: what is wanted.
        store: what is there.
        fresh: leave aside whatever was made before.
        to: name of the highest link that is wanted; empty takes all that are enabled.
    """
    container = choose(spec.build.machine).kind == "container"
    gpus = hardware.nvidia_gpus() if container else []
    return Planner(spec=spec, store=store, gpus=gpus, fresh=fresh, to=to)


#: Reasons for a rebuild that a build tells by itself.
REASONS = 5
