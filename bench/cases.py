"""The cases: what is built, what must be reused, and what is measured."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import project, sizes, table
from bench.project import Built, Project
from bench.sizes import Cost
from bench.table import Figure
from cube.chain.key.keys import link_name
from cube.chain.store.links import Store
from cube.runtime import log
from cube.runtime.errors import CubeError

#: Targets of the specification: seconds, share of the full build, bytes for each byte changed.
NO_CHANGE_S = 10.0
LAYER5_SHARE = 0.15
LINK_RATIO = 1.3


@dataclass
class Bench:
    """One run."""

    project: Project
    figures: list[Figure] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    full_s: float = 0.0
    links_only: bool = False  #: the full build and the one without a change end with the last link

    def full(self) -> None:
        """Everything from nothing."""
        built, load = self.build([], to=self.end)
        self.full_s = built.seconds
        self.tell("full", "full build", built, load, links=self.links_only)

    @property
    def end(self) -> str:
        """The link that ends a build; empty when the image does."""
        return link_name(self.project.spec.layers.enabled[-1]) if self.links_only else ""

    def take_over(self, build: Path) -> None:
        """Go on from an earlier full build instead, with the time that its manifest tells."""
        self.project.take_over(build)
        self.full_s, links_s = self.project.full_seconds(), self.project.link_seconds()
        created = self.project.store.named("").created[:10]
        figure = Figure(
            case="full", what="full build", seconds=self.full_s, links_s=links_s,
            note=f"taken over: by its manifest, of {created}",
        )  # fmt: skip
        self.figures.append(self.judged(figure))

    def extend(self) -> None:
        """Make the links that an earlier build lacks, up to the last layer; no figure."""
        self.project.build(to=link_name(self.project.spec.layers.enabled[-1]))

    def no_change(self) -> None:
        """The same command again."""
        built, load = self.build(to=self.end)
        if built.result["made"]:
            raise CubeError("a build without a change made something anew")
        target, met = f"at most {NO_CHANGE_S:.0f} s", built.seconds <= NO_CHANGE_S
        self.tell(
            "no-change", "build without a change", built, load,
            links=self.links_only, target=target, met=met,
        )  # fmt: skip

    def layer5(self) -> None:
        """A change in a role of the last layer."""
        self.change(5, share=LAYER5_SHARE)

    def layer3(self) -> None:
        """A change in a role of a layer in the middle."""
        self.change(3)

    def layer5_links(self) -> None:
        """A change in a role of the last layer, to its link only."""
        self.change(5, share=LAYER5_SHARE, links=True)

    def layer3_links(self) -> None:
        """A change in a role of a layer in the middle, to the last link only."""
        self.change(3, links=True)

    def change(self, layer: int, *, share: float | None = None, links: bool = False) -> None:
        """Change a role of a layer and build, the image or its links alone."""
        case, what = f"layer{layer}", f"rebuild after a change in layer {layer}"
        if links:
            case, what = f"{case}-links", f"{what}, links only"
        if reason := self.project.skipped(layer):
            note = f"not measured: layer {layer} is skipped here: {reason}"
            self.figures.append(Figure(case=case, what=what, note=note))
            return
        last = link_name(self.project.applied()[-1])
        role = self.project.touch(layer)
        reused = project.below(self.project.applied(), layer)
        built, load = self.build(reused, to=last if links else "")
        links_s = built.seconds if links else self.project.link_seconds()
        figure = Figure(
            case=case, what=what, load=load, note=f"changed: {role.name}", links_s=links_s,
            seconds=None if links else built.seconds,
        )  # fmt: skip
        self.figures.append(self.judged(figure, share))

    def resume(self) -> None:
        """A kill -9 in the last layer, and the same command again."""
        layer, note = self.kill()
        built, load = self.build(project.below(self.project.applied(), layer))
        self.tell("resume", "resume after a kill in the last layer", built, load, note=note)

    def resume_links(self) -> None:
        """The same, and a build that ends with the last link."""
        layer, note = self.kill()
        built, load = self.build(project.below(self.project.applied(), layer), to=link_name(layer))
        what = "resume after a kill in the last layer"
        self.tell("resume-links", what, built, load, links=True, note=note)

    def kill(self) -> tuple[int, str]:
        """Change the last layer and kill its build; return the layer's number and a note."""
        layer = self.project.applied()[-1]
        self.project.touch(layer)
        killed_s = self.project.build_until_killed(layer)
        return layer, f"killed after {killed_s:.1f} s, at the first operation of layer {layer}"

    def store(self) -> None:
        """Bytes of the chain against those of its links as flat images."""
        self.figures.append(store_figure(self.measure()))

    def links(self) -> None:
        """Bytes of each link against those that it changed."""
        self.figures.append(link_figure(self.measure()))

    def measure(self) -> list[Cost]:
        """Measure the links, once."""
        self.costs = self.costs or chain_costs(self.project.store, self.project.folder)
        return self.costs

    def host(self) -> dict[str, Any]:
        """Say where it was built; empty before the first build has succeeded."""
        if not self.full_s or self.links_only:  # a manifest comes with an image
            return {}
        told: dict[str, Any] = self.project.manifest()["builder"]["host"]
        return told

    def build(self, reused: Sequence[str] | None = None, to: str = "") -> tuple[Built, float]:
        """Build; return that and the load before.

        Raises:
            CubeError: it failed, or reused other links than it should.
        """
        load = os.getloadavg()[0]
        built = self.project.build(to)
        if reused is not None and built.reused != list(reused):
            raise CubeError(f"the build reused {built.reused}, expected was {list(reused)}")
        return built, load

    def tell(  # the rest are fields of the figure
        self, case: str, what: str, built: Built, load: float, *, links: bool = False,
        **more: Any,  # noqa: ANN401
    ) -> None:  # fmt: skip
        """Note the figure of a build that made an image, or (`links`) ended with the last link."""
        if links:
            figure = Figure(
                case=case, what=f"{what}, links only", links_s=built.seconds, load=load, **more
            )
        else:
            links_s = self.project.link_seconds() if built.result["made"] else None
            figure = Figure(
                case=case, what=what, seconds=built.seconds, links_s=links_s, load=load, **more
            )
        self.figures.append(self.judged(figure))

    def judged(self, figure: Figure, share: float | None = None) -> Figure:
        """Compare a build, and the part of it that made links, with the full one.

        Args:
            figure: with seconds.
            share: of the full build that each of the two may take; None judges neither.
        """
        ratio, links_ratio = self.share(figure.seconds), self.share(figure.links_s)
        figure = replace(figure, ratio=ratio, links_ratio=links_ratio)
        if share is None:
            return figure
        return replace(
            figure, target=f"at most {share:.0%}", met=within(ratio, share),
            links_met=within(links_ratio, share),
        )  # fmt: skip

    def share(self, seconds: float | None) -> float | None:
        """Return seconds as a share of the full build."""
        return None if seconds is None else seconds / self.full_s


def within(ratio: float | None, share: float) -> bool | None:
    """Tell whether a ratio keeps to a share; None where there is none."""
    return None if ratio is None else ratio <= share


def store_figure(costs: Sequence[Cost]) -> Figure:
    """Compare the store with flat images of all its links."""
    files, flat = sum(cost.file for cost in costs), sum(cost.flat for cost in costs)
    return Figure(
        case="store", what="store against the sum of flat images", ratio=files / flat,
        note=f"{table.mega(files)} MB against {table.mega(flat)} MB",
    )  # fmt: skip


def link_figure(costs: Sequence[Cost]) -> Figure:
    """Name the link that costs most for what it changed."""
    worst = max(costs, key=lambda cost: cost.ratio)
    return Figure(
        case="links", what="a link against the bytes that it changed", ratio=worst.ratio,
        target=f"at most {LINK_RATIO:.0%}", met=worst.ratio <= LINK_RATIO,
        note=f"the worst is {worst.name}",
    )  # fmt: skip


def chain_costs(store: Store, scratch: Path) -> list[Cost]:
    """Measure the links of a store's head.

    Raises:
        CubeError: there is none.
    """
    links = [link for link in store.current() if not link.skipped]
    if not links:
        raise CubeError(f"there is no chain in {store.folder}", hint="cube build makes one")
    with store.reading(), log.step("Measuring the links"):
        return sizes.measure([(link.name, link.disk) for link in links], scratch)


#: In the order in which they are run: each finds what those before it left.
CASES: dict[str, Callable[[Bench], None]] = {
    "full": Bench.full,
    "no-change": Bench.no_change,
    "layer5": Bench.layer5,
    "layer5-links": Bench.layer5_links,
    "layer3": Bench.layer3,
    "layer3-links": Bench.layer3_links,
    "resume": Bench.resume,
    "resume-links": Bench.resume_links,
    "store": Bench.store,
    "links": Bench.links,
}

#: Those that make an image even where the full build made none.
IMAGES = {"layer5", "layer3", "resume"}
#: Those that a chain alone can answer.
SIZES: dict[str, Callable[[Sequence[Cost]], Figure]] = {"store": store_figure, "links": link_figure}
