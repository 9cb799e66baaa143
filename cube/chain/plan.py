"""What of a build is there already, and from where on it must be made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cube.chain import refresh
from cube.chain.key import keys
from cube.chain.key.keys import Ingredients
from cube.chain.store import integrity
from cube.chain.store.integrity import Damage
from cube.chain.store.link import ASIDE, Link, folder_name
from cube.chain.store.links import Store
from cube.config import BASE, Spec, link_name
from cube.runtime import log


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The links that a build takes over, and what it has to make.

    Args:
        refresh: the supply of packages that every link of the build carries.
        links: taken over, base first, skipped layers among them.
        todo: names of the links to make, lowest first.
        why: how the lowest of them differs from what is there; empty when all is there.
    """

    refresh: str
    links: tuple[Link, ...] = ()
    todo: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def head(self) -> Link | None:
        """The highest link that has a disk."""
        return next((link for link in reversed(self.links) if not link.skipped), None)


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Compares a specification with a store.

    Args:
        spec: what is wanted.
        store: what is there.
        gpus: PCI ids of the NVIDIA GPUs that the machine of the build shows to its guest.
        fresh: True leaves aside whatever was made before.
        to: name of the highest link that is wanted; empty takes all that are enabled.
    """

    spec: Spec
    store: Store
    gpus: Sequence[str] = ()
    fresh: bool = False
    to: str = ""

    def plan(self) -> Plan:
        """Find the links that may be taken over, without reading their disks."""
        known = [link.refresh for link in self.store.links() if link.name == BASE]
        stamps = refresh.stamps(self.spec.build.refresh, [] if self.fresh else known)
        for stamp in [] if self.fresh else stamps:
            wanted = keys.base_ingredients(self.spec, refresh=stamp)
            if base := self.find(wanted):
                return self.above(base)
        wanted = keys.base_ingredients(self.spec, refresh=stamps[-1])
        todo = [BASE, *map(link_name, self.layers)]
        why = ["all is to be made anew (--fresh)"] if self.fresh else self.why(wanted)
        return Plan(refresh=stamps[-1], todo=tuple(todo), why=tuple(why))

    def above(self, base: Link) -> Plan:
        """Go up from a base as far as links fit."""
        links, parent, layers = [base], base, self.layers
        for at, layer in enumerate(layers):
            wanted = self.ingredients(layer, parent)
            link = self.find(wanted)
            if not link:
                return Plan(
                    refresh=base.refresh,
                    links=tuple(links),
                    todo=tuple(map(link_name, layers[at:])),
                    why=tuple(self.why(wanted)),
                )
            links.append(link)
            parent = parent if link.skipped else link
        return Plan(refresh=base.refresh, links=tuple(links))

    def trusted(self) -> Plan:
        """Plan, then read every byte that would be taken over; what is damaged is removed.

        Raises:
            BusyError: a damaged link is being read by another command.
        """
        damaged: dict[str, str] = {}
        while True:
            plan = self.plan()
            found = self.remove_damaged(plan.links)
            if not found:
                why = damaged.get(plan.todo[0]) if plan.todo else None
                return replace(plan, why=(why,)) if why else plan
            damaged |= {damage.link.name: f"it was damaged: {damage.reason}" for damage in found}

    def sound(self, wanted: Ingredients) -> Link | None:
        """Return the link that has just these ingredients, once every byte of it was read.

        Raises:
            BusyError: it is damaged, and being read by another command.
        """
        found = self.find(wanted)
        return found if found and not self.remove_damaged([found]) else None

    def remove_damaged(self, links: Sequence[Link]) -> list[Damage]:
        """Read every byte of links, and remove those that are damaged; return them.

        Raises:
            BusyError: a damaged link is being read by another command.
        """
        found = integrity.damaged(links, self.store.links())
        for damage in found:
            told = f"{damage.link.name} {damage.link.short} is damaged and is made anew"
            log.warning(f"{told}: {damage.reason}")
        if found:
            self.store.remove([damage.link for damage in found])
        return found

    @property
    def layers(self) -> list[int]:
        """The layers that are wanted, in order."""
        enabled = sorted(self.spec.layers.enabled)
        return [layer for layer in enabled if not self.to or link_name(layer) <= self.to]

    def ingredients(self, layer: int, parent: Link) -> Ingredients:
        """Return what makes a layer on top of a link."""
        return keys.layer_ingredients(
            self.spec, layer, parent=parent.key, refresh=parent.refresh, gpus=self.gpus
        )

    def find(self, wanted: Ingredients) -> Link | None:
        """Return the link that has just these ingredients."""
        return self.store.find(wanted["name"], keys.digest(wanted))

    def why(self, wanted: Ingredients) -> list[str]:
        """Say how what is wanted differs from the newest link of its name."""
        folder = self.store.folder / folder_name(wanted["name"], keys.digest(wanted))
        if folder.exists():
            aside = (folder / ASIDE).exists()
            return ["it was set aside by a rollback" if aside else "it is damaged"]
        alike = [link for link in self.store.links() if link.name == wanted["name"]]
        if not alike:
            return ["there was none yet"]
        # Of several, the one that differs least tells most; of equals, the newest.
        lists = [keys.differences(link.ingredients, wanted) for link in reversed(alike)]
        return min(lists, key=len)
