"""What differs between a box and the layers that it claims; nothing is changed there."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from cube.chain.key.keys import recipe
from cube.chain.store.link import SHORT
from cube.config import Spec
from cube.hosts import record, restart
from cube.hosts.apply import Side, check_run, run_checks
from cube.hosts.dry_run import Difference, predict
from cube.hosts.record import Entry, Record
from cube.hosts.target import Box
from cube.provision.file_diff import excerpt
from cube.runtime import log
from cube.runtime.check_report import Check, CheckReport, read_entries
from cube.runtime.errors import CheckError


@dataclass(frozen=True, kw_only=True)
class LayerDrift:
    """How a layer on a box differs from what it claims to be.

    Args:
        layer: its number.
        problem: why it could not be compared at all, which is a difference itself.
        sources: how the sources that made it differ from those of this checkout.
        operations: how many were compared.
        differences: operations that would change something.
        failed: checks that failed.
        checks: what the checks found, in a few words; empty when none ran.
    """

    layer: int
    problem: str = ""
    sources: str = ""
    operations: int = 0
    differences: tuple[Difference, ...] = ()
    failed: tuple[Check, ...] = ()
    checks: str = ""

    @property
    def found(self) -> bool:
        """Whether anything differs."""
        return bool(self.problem or self.sources or self.differences or self.failed)

    @property
    def summary(self) -> str:
        """One line for a layer that does not differ."""
        judged = f"; checks: {self.checks}" if self.checks else ""
        return f"no drift in {self.operations} operations{judged}"

    def lines(self) -> list[str]:
        """Say it to a person."""
        told = [text for text in (self.problem, self.sources) if text]
        for one in self.differences:
            told += [f"{one.role}: {one.operation}", *excerpt(one.told)]
        told += [f"check failed: {one.title}: {one.reason}" for one in self.failed]
        return [f"layer {self.layer}: {line}" if line[0] != " " else line for line in told]

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {**asdict(self), "drift": self.found}


def compare(
    spec: Spec,
    box: Box,
    layers: Sequence[int],
    *,
    checks: bool = True,
    side: Side | None = None,
) -> list[LayerDrift]:
    """Compare a box with the layers that it claims.

    Args:
        spec: what the layers would be made from now.
        box: that lets us in.
        layers: numbers; none means every layer that the box claims.
        checks: judge each, too.
        side: what the work on many boxes shares; None for a box alone.

    Raises:
        DriftError: the box claims no layer at all.
        ProvisionError: the comparison failed.
        CheckError: the checks could not be run.
        MachineError: the box does not answer.
    """
    claimed = record.require(box)
    tell_restarts(box)
    found: list[LayerDrift] = []
    for layer in sorted(set(layers or claimed.layers)):
        with log.step(f"Comparing layer {layer} of {box.name}", layer=layer):
            found.append(compare_layer(spec, box, claimed, layer, checks=checks, side=side))
    return found


def tell_restarts(box: Box) -> None:
    """Say what waits for a restart; updates restart nothing by themselves."""
    if due := restart.reason(box):
        log.warning(f"{box.name} needs a restart: {due}")
    if stale := restart.services(box):
        names = ", ".join(stale)
        log.warning(f"{box.name}: services run with libraries that were replaced: {names}")


def compare_layer(
    spec: Spec, box: Box, claimed: Record, layer: int, *, checks: bool, side: Side | None = None
) -> LayerDrift:
    """Compare one layer."""
    entry = claimed.entry(layer)
    if not entry:
        return LayerDrift(layer=layer, problem="the box does not claim it")
    sources = other_sources(spec, entry)
    if layer not in spec.layers.enabled:
        problem = f"the box claims it, {spec.file.name} does not enable it"
        return LayerDrift(layer=layer, problem=problem, sources=sources)
    pool = side.pool if side else None
    asked = predict(layer, box, spec=spec, building=box.building, pool=pool)
    if asked.skipped:
        problem = f"the box claims it, but it does not apply there now: {asked.skipped}"
        return LayerDrift(layer=layer, problem=problem, sources=sources)
    drift = LayerDrift(
        layer=layer, sources=sources, operations=asked.operations, differences=asked.differences
    )
    if not checks:
        return drift
    with side.checking if side else contextlib.nullcontext():
        report = judge(spec, box, layer)
    return replace(drift, failed=report.having("failed"), checks=report.summary)


def other_sources(spec: Spec, entry: Entry) -> str:
    """Say how what made a layer differs from this checkout; empty when it does not."""
    roles = spec.layers.roles(entry.layer)
    if entry.roles != roles:
        return f"made of the roles {', '.join(entry.roles)}, now they are {', '.join(roles)}"
    wanted = recipe(entry.layer, roles)
    if not entry.recipe:
        return "made by a release that did not note its sources"
    if entry.recipe != wanted:
        made = f"{entry.recipe[:SHORT]}, this checkout has {wanted[:SHORT]}"
        return f"made by other sources than this checkout's: {made}"
    return ""


def judge(spec: Spec, box: Box, layer: int) -> CheckReport:
    """Run a layer's checks; those that fail are part of the report.

    Raises:
        CheckError: they could not be run.
    """
    try:
        return run_checks(spec, box, layer)
    except CheckError:
        lines = check_run(spec, box, layer).report_log.read_text().splitlines()
        report = CheckReport(checks=read_entries(lines))
        if not report.having("failed"):
            raise
        return report
