"""Layers applied to a live box: each applied, repeated on request, judged and noted there."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cube.chain.key import keys
from cube.chain.key.keys import Ingredients
from cube.config import BASE, Spec, link_name
from cube.config.live_host import box_data
from cube.hosts import restart, snapshot
from cube.hosts.target import Box
from cube.hosts.volumes import Volume
from cube.machines import address
from cube.provision import pyinfra_run, pytest_run
from cube.provision.layer_run import LayerResult, LayerRun, run_layer
from cube.provision.pyinfra_run import Applied, Pool
from cube.provision.pytest_run import CheckRun
from cube.runtime import log
from cube.runtime.errors import CheckError, ProvisionError, SpecError
from cube.runtime.units import duration


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be done to a box.

    Args:
        layers: numbers; none means every layer that cube.toml enables.
        prove: apply each a second time, which must change nothing.
        checks: judge each.
        reboot: restart the box, once a layer, when it needs that.
        snapshot: take a snapshot of the root before each.
        snapshot_mib: room for changes in each snapshot; 0 takes a share of the root.
    """

    layers: tuple[int, ...] = ()
    prove: bool = False
    checks: bool = True
    reboot: bool = False
    snapshot: bool = False
    snapshot_mib: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a layer on a box.

    Args:
        layer: its number.
        skipped: why it was not applied; empty when it was.
        operations: how many it has.
        changed: those that changed something.
        seconds: all that was done for it.
        proved: it was applied again, and that changed nothing.
        checks: what was found, in a few words; empty when nothing was judged.
        restart: why the box needs a restart now; empty when it does not.
        snapshot: the one that was taken before it.
        key: what the box notes of it.
    """

    layer: int
    skipped: str = ""
    operations: int = 0
    changed: tuple[str, ...] = ()
    seconds: float = 0.0
    proved: bool = False
    checks: str = ""
    restart: str = ""
    snapshot: str = ""
    key: str = ""

    @property
    def summary(self) -> str:
        """One line for a person."""
        if self.skipped:
            return f"layer {self.layer}  skipped: {self.skipped}"
        changed = f"{len(self.changed)} changed" if self.changed else "nothing changed"
        parts = [
            f"{self.operations} operations, {changed}",
            "a second time nothing changed" if self.proved else "",
            f"checks: {self.checks}" if self.checks else "not checked",
            f"snapshot {self.snapshot}" if self.snapshot else "",
            duration(self.seconds),
        ]
        return f"layer {self.layer}  {'; '.join(filter(None, parts))}"

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {**asdict(self), "seconds": round(self.seconds, 1)}


@dataclass(frozen=True, kw_only=True)
class Side:
    """What the work on many boxes, side by side, shares.

    Args:
        pool: runs pyinfra for all of them.
        checking: is held while a box is judged: each run of checks is a process.
        ingredients: of the key of each layer, read once; what is below the layer is not in it.
    """

    pool: Pool
    checking: AbstractContextManager[object]
    ingredients: dict[int, Ingredients] = field(default_factory=dict)


def apply(spec: Spec, box: Box, wanted: Wanted, side: Side | None = None) -> list[Outcome]:
    """Apply layers to a box.

    Args:
        spec: what the layers are made from.
        box: that lets us in.
        wanted: what is to be done.
        side: what the work on many boxes shares; None for a box alone.

    Returns:
        What became of each layer, lowest first.

    Raises:
        SpecError: a layer is wanted that cube.toml does not enable.
        SnapshotError: a snapshot cannot be taken; nothing was changed.
        ProvisionError: an operation failed, or the second application changed something.
        CheckError: a check failed.
        MachineError: the box does not answer any more.
    """
    layers = choose_layers(spec, wanted.layers)
    room = snapshot.plan(box, layers, size_mib=wanted.snapshot_mib) if wanted.snapshot else None
    one = Application(spec=spec, box=box, wanted=wanted, room=room, side=side)
    outcomes: list[Outcome] = []
    for layer in layers:
        with log.step(f"Layer {layer} on {box.name}", layer=layer):
            outcomes.append(one.run(layer))
        log.info(outcomes[-1].summary, **outcomes[-1].as_json())
    return outcomes


def choose_layers(spec: Spec, named: Sequence[int]) -> list[int]:
    """Return the layers to apply, in order.

    Raises:
        SpecError: one is not enabled.
    """
    for layer in named:
        if layer not in spec.layers.enabled:
            raise SpecError(
                f"layer {layer} is not enabled",
                hint=f"add it to layers.enabled of {spec.file}",
            )
    return sorted(set(named or spec.layers.enabled))


@dataclass(frozen=True, kw_only=True)
class Application:
    """The application of layers to one box; `room` is for snapshots, if they are wanted."""

    spec: Spec
    box: Box
    wanted: Wanted
    room: snapshot.Plan | None
    side: Side | None = None

    def run(self, layer: int) -> Outcome:
        """Apply, repeat and check one layer, with a snapshot before it on request."""
        started = time.monotonic()
        taken = snapshot.take(self.box, self.room, layer) if self.room else None
        with self.advising(layer, taken):
            done = run_layer(self.run_of(layer))
        if taken and done.first.skipped:
            snapshot.drop(self.box, taken)
        elif taken:
            snapshot.warn_of_overflow(self.box, [taken])
        return outcome(done, taken, seconds=time.monotonic() - started)

    def run_of(self, layer: int) -> LayerRun:
        """Describe how a layer is applied to the box."""
        box, wanted = self.box, self.wanted
        how: dict[str, Any] = {
            "spec": self.spec,
            "building": box.building,
            "pool": self.side.pool if self.side else None,
            "ingredients": self.ingredients(layer),
            "question": restart.ASK,
        }

        def prove(first: Applied) -> Applied:
            return pyinfra_run.prove_idempotent(layer, box, first=first, **how)

        return LayerRun(
            layer=layer,
            apply=partial(pyinfra_run.apply, layer, box, run=self.run_of_layers, **how),
            prove=prove if wanted.prove else None,
            restart=partial(self.restart, layer),
            checks=check_run(self.spec, box, layer) if wanted.checks else None,
            check_slot=self.side.checking if self.side else contextlib.nullcontext(),
        )

    @property
    def run_of_layers(self) -> list[int]:
        """The layers of this run, so that loads begin early; none where they'd fill a snapshot."""
        return [] if self.room else choose_layers(self.spec, self.wanted.layers)

    def ingredients(self, layer: int) -> Ingredients:
        """Return what makes a layer, read once for all hosts."""
        known = self.side.ingredients if self.side and not self.box.building else {}
        if layer not in known:
            known[layer] = ingredients(self.spec, self.box, layer)
        return known[layer]

    def restart(self, layer: int, last: Applied) -> str:
        """Restart the box if it needs and may be; return why it still needs it."""
        answer = last.answer
        reason = restart.reason(self.box) if answer is None else restart.parse(answer)
        if not reason:
            return ""
        if not self.wanted.reboot:
            log.warning(f"{self.box.name} needs a restart after layer {layer}: {reason}")
            return reason
        with log.step(f"Restarting {self.box.name}: {reason}"):
            restart.restart(self.box)
        return restart.reason(self.box)

    @contextlib.contextmanager
    def advising(self, layer: int, taken: Volume | None) -> Iterator[None]:
        """Say of a failure what to do about it on a box."""
        name = self.box.name
        back = f", or go back: cube rollback {name} {before(layer)}" if taken else ""
        try:
            yield
        except ProvisionError as error:
            again = error.hint.partition("correct it")[0]
            error.hint = f"{again}correct it, then cube apply {name} --layers {layer}{back}"
            raise
        except CheckError as error:
            error.hint = error.hint.replace("--hosts=NAME", f"'--hosts={hosts_word(self.box)}'")
            error.hint += back
            raise


def outcome(done: LayerResult, taken: Volume | None, *, seconds: float) -> Outcome:
    """Return what is reported of a layer that was applied or skipped."""
    first = done.first
    if first.skipped:
        return Outcome(layer=first.layer, skipped=first.skipped, seconds=seconds)
    return Outcome(
        layer=first.layer,
        operations=first.operations,
        changed=first.changed,
        seconds=seconds,
        proved=done.again is not None,
        checks=done.report.summary if done.report else "",
        restart=done.restart,
        snapshot=taken.name if taken else "",
        key=first.key,
    )


def before(layer: int) -> str:
    """Return the word for what is below a layer."""
    return link_name(layer - 1) if layer > 1 else BASE


def hosts_word(box: Box) -> str:
    """Return what ``pytest checks/ --hosts=`` reaches a box by."""
    return address.lasting(box.endpoint).url


def ingredients(spec: Spec, box: Box, layer: int) -> Ingredients:
    """Return what makes a layer, without what is below it.

    Its packages are as old as they are: the key has no `refresh`.
    """
    data = None if box.building else box_data(spec)
    return keys.layer_ingredients(spec, layer, parent="", refresh="", data=data)


def check_run(spec: Spec, box: Box, layer: int) -> CheckRun:
    """Describe the run of a layer's checks on a box."""
    return pytest_run.layer_checks(spec, layer, box.endpoint, results_folder(spec, box))


def results_folder(spec: Spec, box: Box) -> Path:
    """Return where reports about a box are kept."""
    return spec.build.dir / "boxes" / box.name
