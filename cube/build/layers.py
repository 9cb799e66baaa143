"""Stage 3: a layer becomes a link of the chain when it is applied, repeated and judged."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cube.chain.key import keys
from cube.chain.key.keys import Ingredients
from cube.chain.plan import Planner
from cube.chain.store.link import LayerRecord, Link
from cube.chain.store.links import Store
from cube.machines import Machine
from cube.provision import pyinfra_run, pytest_run
from cube.provision.layer_run import LayerResult, LayerRun, run_layer
from cube.provision.pyinfra_run import Applied
from cube.runtime import log
from cube.runtime.errors import ProvisionError
from cube.supply import package_cache
from cube.supply.package_cache import PackageCache
from cube.supply.wheel_cache import WheelCache

#: Opens a machine on a disk.
Boot = Callable[[Path], AbstractContextManager[Machine]]


@dataclass(frozen=True, kw_only=True)
class LayerBuilder:
    """Makes links.

    `boot` opens machines; `results` is the folder of what runs report; packages come through
    `cache` and wheels through `wheels`, where there are such.
    """

    planner: Planner
    boot: Boot
    results: Path
    cache: PackageCache | None = None
    wheels: WheelCache | None = None

    @property
    def store(self) -> Store:
        """Where links go."""
        return self.planner.store

    def build(self, layers: Sequence[int], parent: Link) -> list[Link]:
        """Add a link for every layer; one that does not apply becomes a link without a disk.

        Args:
            layers: numbers, in order.
            parent: the link to begin on.

        Returns:
            A link for each layer, in order.

        Raises:
            ProvisionError: an operation failed, or the second application changed something.
            CheckError: a check failed.
            MachineError: a machine did not boot.
            ChainError: a source was changed meanwhile.
            BusyError: a damaged link is being read by another command.
        """
        links: list[Link] = []
        while len(links) < len(layers):
            # Above a layer that is skipped anew, there may be links that still fit.
            wanted = self.planner.ingredients(layers[len(links)], parent)
            found = self.planner.sound(wanted)
            links += [found] if found else self.build_next(layers[len(links) :], parent)
            if not links[-1].skipped:
                parent = links[-1]
                self.store.set_head(parent)
        return links

    def build_next(self, layers: Sequence[int], parent: Link) -> list[Link]:
        """Boot once, pass over the layers that do not apply here, and make one link.

        Returns:
            The skipped layers and, last, the one that was applied, if any was.
        """
        started = time.monotonic()
        self.store.forget(self.planner.ingredients(layers[0], parent))
        with self.boot(self.store.extend(parent)) as machine:
            skipped, made = self.apply_first(layers, parent, machine)
        if not made:
            self.store.discard()
            return skipped
        wanted, record = made
        record = replace(record, seconds=time.monotonic() - started)
        with log.step(f"Freezing layer {record.layer}"):
            keys.require_same(wanted, self.planner.ingredients(record.layer, parent))
            return [*skipped, self.store.freeze(wanted, seconds=record.seconds, layer=record)]

    def apply_first(
        self, layers: Sequence[int], parent: Link, machine: Machine
    ) -> tuple[list[Link], tuple[Ingredients, LayerRecord] | None]:
        """Apply the first layer that makes sense on the machine, and judge it.

        Returns:
            The skipped layers; and the ingredients and the record of the one that was applied.
        """
        skipped: list[Link] = []
        package_cache.lend(machine.endpoint, self.cache)
        for layer in layers:
            wanted = self.planner.ingredients(layer, parent)
            if skipped and self.planner.find(wanted):
                break
            done = run_layer(self.run_on(machine, layer, keys.digest(wanted)))
            if not done.first.skipped:
                with log.step("Stopping the machine"):
                    machine.shutdown()
                return skipped, (wanted, record_of(done))
            record = LayerRecord(layer=layer, skipped=done.first.skipped)
            skipped.append(self.store.skip(wanted, record))
        return skipped, None

    def run_on(self, machine: Machine, layer: int, key: str) -> LayerRun:
        """Describe how a layer becomes a link: it is repeated, and checked after a restart."""

        def prove(first: Applied) -> Applied:
            spec = self.planner.spec
            return pyinfra_run.prove_idempotent(layer, machine, spec=spec, key=key, first=first)

        def restart(_: Applied) -> str:
            package_cache.withdraw(machine.endpoint, self.cache)
            with log.step("Restarting the machine"):
                machine.reboot()
            return ""

        return LayerRun(
            layer=layer,
            apply=partial(self.apply, layer, machine, key),
            prove=prove,
            restart=restart,
            checks=pytest_run.layer_checks(
                self.planner.spec, layer, machine.endpoint, self.results
            ),
        )

    def apply(self, layer: int, machine: Machine, key: str) -> Applied:
        """Apply a layer; where a cache may have spoiled it, go on without that one.

        Raises:
            ProvisionError: an operation failed.
        """
        index = self.wheels.index if self.wheels else ""
        while True:
            try:
                return pyinfra_run.apply(
                    layer, machine, spec=self.planner.spec, key=key, index=index
                )
            except ProvisionError as error:
                spoiled = {
                    "packages": self.withdrawn(machine, error),
                    "wheels": bool(index and self.wheels and self.wheels.suspect(error)),
                }
                if not any(spoiled.values()):
                    raise
                names = " and ".join(name for name, found in spoiled.items() if found)
                log.warning(
                    f"retrying without the cache of {names}, which may be at fault: {error.message}"
                )
                index = "" if spoiled["wheels"] else index

    def withdrawn(self, machine: Machine, error: ProvisionError) -> bool:
        """Take the cache of packages away from a machine if it may be at fault, and was used."""
        if self.cache is None or not package_cache.suspect(error):
            return False
        if not package_cache.reached(machine.endpoint, self.cache):
            return False
        if package_cache.poisoned(error):
            self.cache.distrust()
        package_cache.withdraw(machine.endpoint, self.cache)
        return True


def record_of(done: LayerResult) -> LayerRecord:
    """Return what a link keeps of the application of its layer."""
    first, again, report = done.first, done.again, done.report
    assert again is not None
    assert report is not None
    return LayerRecord(
        layer=first.layer,
        reason=first.reason,
        operations=first.operations,
        changed=len(first.changed),
        execs=first.execs,
        repeat_execs=again.execs,
        apply_s=done.apply_s,
        repeat_s=done.repeat_s,
        check_s=done.check_s,
        checks=report.checks,
    )
