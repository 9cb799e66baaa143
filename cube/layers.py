"""Stage 3: a layer becomes a link of the chain when it is applied, repeated and judged."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from cube import log, provision, testing
from cube.chain import Chain, link_name
from cube.findings import Check
from cube.machines import Machine
from cube.provision import Applied
from cube.spec import Spec
from cube.testing import CheckRun

#: Opens a machine on a disk.
Boot = Callable[[Path], AbstractContextManager[Machine]]


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """What became of a layer. Times are in seconds.

    Args:
        layer: its number.
        skipped: why it was not applied; empty when it was.
        operations: how many the layer has.
        changed: how many of them changed something on the first application.
        execs: commands that the first application ran over SSH.
        repeat_execs: the same for the second application, which changed nothing.
        apply_s: the first application.
        repeat_s: the second application.
        check_s: its checks.
        seconds: all of it, with boots.
        checks: what they found.
    """

    layer: int
    skipped: str = ""
    operations: int = 0
    changed: int = 0
    execs: int = 0
    repeat_execs: int = 0
    apply_s: float = 0.0
    repeat_s: float = 0.0
    check_s: float = 0.0
    seconds: float = 0.0
    checks: tuple[Check, ...] = ()

    def write(self, path: Path) -> None:
        """Keep it beside the link."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "LayerRecord":
        """Return what `write` kept."""
        data = json.loads(path.read_text(encoding="utf-8"))
        data["checks"] = tuple(Check(**check) for check in data["checks"])
        return cls(**data)


def read_records(chain: Chain, layers: Sequence[int]) -> list[LayerRecord]:
    """Return what became of layers in the build before, as far as it came."""
    paths = [chain.record(link_name(layer)) for layer in layers]
    return [LayerRecord.read(path) for path in paths if path.exists()]


def timed(
    action: Callable[..., Applied], layer: int, machine: Machine, spec: Spec
) -> tuple[Applied, float]:
    """Apply a layer and return the seconds it took as well, pyinfra's own start included."""
    started = time.monotonic()
    return action(layer, machine, spec=spec), time.monotonic() - started


@dataclass(frozen=True, kw_only=True)
class LayerBuilder:
    """Makes links. `boot` opens machines; `results` is the folder of what runs report."""

    spec: Spec
    chain: Chain
    boot: Boot
    results: Path

    def build(self, layers: Sequence[int], parent: str) -> list[LayerRecord]:
        """Add a link for every layer that applies; a skipped layer leaves no link.

        Args:
            layers: numbers, in order.
            parent: the link to begin on.

        Returns:
            What became of each layer.

        Raises:
            ProvisionError: an operation failed, or the second application changed something.
            CheckError: a check failed.
            MachineError: a machine did not boot.
        """
        records: list[LayerRecord] = []
        while len(records) < len(layers):
            records += self.build_next(layers[len(records) :], parent)
            if not records[-1].skipped:
                parent = link_name(records[-1].layer)
        return records

    def build_next(self, layers: Sequence[int], parent: str) -> list[LayerRecord]:
        """Boot once, pass over the layers that do not apply here, and make one link.

        Returns:
            The skipped layers and, last, the one that was applied, if any was.
        """
        records: list[LayerRecord] = []
        started = time.monotonic()
        with self.boot(self.chain.extend(parent)) as machine:
            for layer in layers:
                with log.step(f"Applying layer {layer}", layer=layer):
                    first, apply_s = timed(provision.apply, layer, machine, self.spec)
                if not first.skipped:
                    records.append(self.finish(first, apply_s, machine))
                    break
                records.append(self.skip(layer, first.skipped))
        if records[-1].skipped:
            self.chain.discard()
            return records
        final = records.pop()
        return [*records, self.freeze(final, time.monotonic() - started)]

    def skip(self, layer: int, reason: str) -> LayerRecord:
        """Record a layer that does not apply: it has no link, but what goes on knows of it."""
        record = LayerRecord(layer=layer, skipped=reason)
        record.write(self.chain.record(link_name(layer)))
        return record

    def finish(self, first: Applied, apply_s: float, machine: Machine) -> LayerRecord:
        """Repeat and judge a layer that was applied, and stop the machine."""
        layer = first.layer
        with log.step(f"Applying layer {layer} again: nothing may change", layer=layer):
            again, repeat_s = timed(provision.prove_idempotent, layer, machine, self.spec)
        with log.step("Restarting the machine"):
            machine.reboot()
        started = time.monotonic()
        with log.step(f"Checking layer {layer}", layer=layer):
            report = testing.run_checks(
                CheckRun(
                    target=machine.endpoint,
                    select=["checks"],
                    marker=link_name(layer),
                    name=link_name(layer),
                    spec_file=self.spec.file,
                    results_dir=self.results,
                )
            )
        check_s = time.monotonic() - started
        with log.step("Stopping the machine"):
            machine.shutdown()
        return LayerRecord(
            layer=layer, operations=first.operations, changed=len(first.changed),
            execs=first.execs, repeat_execs=again.execs, apply_s=apply_s,
            repeat_s=repeat_s, check_s=check_s, checks=report.checks,
        )  # fmt: skip

    def freeze(self, record: LayerRecord, seconds: float) -> LayerRecord:
        """Make the link, with its record beside it."""
        name = link_name(record.layer)
        done = LayerRecord(**{**vars(record), "seconds": seconds})
        done.write(self.chain.record(name))
        self.chain.freeze(name)
        return done
