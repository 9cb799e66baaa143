"""What a layer would change on a live machine: pyinfra's dry run, operation by operation."""

from dataclasses import dataclass
from typing import Any

from cube.config import Spec
from cube.provision import pyinfra_run
from cube.provision.file_diff import named
from cube.provision.pyinfra_events import Journal
from cube.provision.pyinfra_run import Pool, Target
from cube.runtime.errors import ProvisionError

#: Facts alone are read; a slow machine takes a minute. In seconds.
TIMEOUT_S = 1800
#: Not a role: the operation that notes a layer on the box. `cube.hosts.record` compares that.
RECORD = "record"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An operation that would change something.

    Args:
        role: it belongs to.
        operation: its sentence.
        diff: lines of the files that it would write, before and after; empty for other changes.
        commands: what it would run.
    """

    role: str
    operation: str
    diff: str
    commands: tuple[str, ...]

    @property
    def told(self) -> str:
        """What differs: the diff, or else the commands that would mend it."""
        commands = "\n".join(one.splitlines()[0] for one in self.commands)
        return named(self.diff) or commands


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the application of a layer would do now.

    Args:
        layer: its number.
        operations: how many were asked.
        differences: those that would change something.
        skipped: why the layer has no operations here; empty when it has.
    """

    layer: int
    operations: int = 0
    differences: tuple[Difference, ...] = ()
    skipped: str = ""


def predict(
    layer: int, target: Target, *, spec: Spec, building: bool, pool: Pool | None = None
) -> Prediction:
    """Ask every operation of a layer what it would change; nothing is changed.

    Args:
        layer: 1 to 5.
        target: it is reached through its endpoint.
        spec: the specification.
        building: False for a box, which gets nothing that only a build needs.
        pool: asks, for one machine of many; None starts pyinfra for this one.

    Raises:
        ProvisionError: pyinfra failed, or did not ask every operation.
    """
    with pyinfra_run.described(target, spec, keys={}, building=building) as (folder, env):
        code, journal = pyinfra_run.run_layer(
            layer, env, folder, timeout_s=TIMEOUT_S, dry=True, pool=pool
        )
    return conclude(layer, code, journal)


def conclude(layer: int, code: int, journal: Journal) -> Prediction:
    """Turn the events of a dry run into a prediction.

    Raises:
        ProvisionError: see `predict`.
    """
    if (skipped := journal.skipped(layer)) and code == 0:
        return Prediction(layer=layer, skipped=skipped)
    asked = {event["id"]: event for event in journal.of("predict")}
    planned = journal.planned()
    missing = [one["name"] for one in planned if one["id"] not in asked]
    if code != 0 or not planned or missing:
        what = f"was not asked: {missing[0]}" if missing else f"pyinfra's exit code is {code}"
        raise ProvisionError(
            f"layer {layer}: the comparison failed: {what}", details=journal.tail()
        )
    events = [event for event in asked.values() if event["role"] != RECORD]
    changed = [difference(event) for event in events if event["changes"]]
    return Prediction(layer=layer, operations=len(events), differences=tuple(changed))


def difference(event: dict[str, Any]) -> Difference:
    """Return the difference that an event tells."""
    return Difference(
        role=event["role"],
        operation=event["name"],
        diff=event["diff"],
        commands=tuple(event["commands"]),
    )
