"""The cases: what is applied, what must be true of it, and what is timed."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers import application, box, equality
from bench.peers.application import Workshop
from bench.peers.box import Box
from bench.peers.results import FIRST, NOOP, Results
from bench.peers.spread import turns
from bench.peers.variants import APT, BY_NAME, WORKERS
from bench.peers.wanted import wanted
from cube.runtime import log
from cube.runtime.errors import CubeError


@dataclass
class Race:
    """One run: boxes that are up, one for each variant that changes something; at least one.

    Args:
        shop: what applications need.
        base: the bare OS of every box.
        cache: of packages: its port, and the folder of wheels.
        names: of the variants.
        results: what is measured goes there.
    """

    shop: Workshop
    base: Path
    cache: tuple[int, Path]
    names: Sequence[str]
    results: Results
    boxes: dict[str, Box] = field(default_factory=dict)
    #: What the boxes that stay up are in, which those of a repetition are held to.
    state: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def fresh(self, name: str, delays: list[int], *, place: str = "") -> Iterator[Box]:
        """Boot a new box for a variant, in a folder of its own."""
        folder = self.shop.folder / (place or name)
        with (
            box.started(place or name, self.base, folder, self.cache) as made,
            box.farther(made, delays),
        ):
            yield made

    @contextlib.contextmanager
    def started(self, delays: list[int]) -> Iterator[None]:
        """Boot a box for each variant; the one script looks at the first."""
        with contextlib.ExitStack() as stack:
            for name in self.names:
                if BY_NAME[name].tool in WORKERS:
                    self.boxes[name] = stack.enter_context(self.fresh(name, delays))
            yield

    def box(self, name: str) -> Box:
        """Return the box that a variant works on."""
        return self.boxes.get(name) or next(iter(self.boxes.values()))

    def once(
        self, case: str, name: str, delay_ms: int, *, on: Box | None = None, counted: bool = True
    ) -> None:
        """Apply once, on the variant's box or another one, and note it.

        Raises:
            CubeError: it failed; or it changed something in a no-op, nothing in a first.
        """
        self.results.load.append(os.getloadavg()[0])
        applied = application.apply(BY_NAME[name], on or self.box(name), delay_ms, self.shop)
        if counted and applied.changed is not None and (applied.changed > 0) == (case == NOOP):
            raise CubeError(f"{name}, {case}: {applied.changed} changes were made")
        log.info(f"{name}, {case}, {delay_ms} ms: {applied.seconds:.2f} s")
        if counted:
            self.results.add(case, name, delay_ms, applied.seconds)

    def first(self, rounds: int, delays: Sequence[int] = ()) -> None:
        """Apply layer 1 for the first time, one tool after the other; all states must be one.

        Each round after the first one is on boxes that are there for it alone, and so is the one
        of each longer round trip.
        """
        for name in self.boxes:
            with log.step(f"First application by {name}"):
                self.once(FIRST, name, 0)
        self.require_same()
        for number, order in enumerate(turns(list(self.boxes), rounds)[1:], 2):
            for name in order:
                self.first_anew(name, number)
        for name in self.names:
            for number in range(1, rounds + 1) if BY_NAME[name].tool == APT else ():
                self.first_anew(name, number)
        for delay in delays:
            for name in self.boxes if delay else ():
                self.first_anew(name, 1, delay)

    def first_anew(self, name: str, number: int, delay_ms: int = 0) -> None:
        """Apply for the first time on a box that is there for it alone; its state must be that.

        Raises:
            CubeError: it failed, or left another state.
        """
        place = f"{name}-{number}-{delay_ms}ms"
        with (
            log.step(f"First application by {name}, round {number}, {delay_ms} ms"),
            self.fresh(name, sorted({0, delay_ms}), place=place) as one,
        ):
            if BY_NAME[name].tool == APT:
                application.note_packages(self.box(name), one)
            self.once(FIRST, name, delay_ms, on=one)
            if BY_NAME[name].tool != APT:
                self.require_same({place: one})

    def no_op(self, delay_ms: int, rounds: int) -> None:
        """Apply again, in turns; the first time of each opens connections, and is not counted."""
        with log.step(f"Applying again at {delay_ms} ms"):
            names = [name for name in self.names if BY_NAME[name].tool != APT]
            for name in names:
                self.once(NOOP, name, delay_ms, counted=False)
            for order in turns(names, rounds):
                for name in order:
                    self.once(NOOP, name, delay_ms)

    def require_same(self, boxes: Mapping[str, Box] | None = None) -> None:
        """Refuse figures of tools that do not leave the same.

        Args:
            boxes: those that are compared with what was seen last; default: all that stay up are
                looked at anew.

        Raises:
            CubeError: a state lacks something, or differs from the first one's.
        """
        with log.step("Comparing what they left"):
            look = wanted(self.shop.spec, trees=True)
            self.state = self.state if boxes else {}
            for name, one in (boxes or self.boxes).items():
                state = one.state(look)
                equality.require_whole(state, name)
                self.state = self.state or state
                equality.require_same(self.state, state, (next(iter(self.boxes)), name))
