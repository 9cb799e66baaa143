"""Why a link would be reused or made anew, for each one that cube.toml wants."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cube.chain import refresh
from cube.chain.key import keys
from cube.chain.key.keys import Ingredients
from cube.chain.plan import Plan, Planner
from cube.chain.store.link import Link
from cube.chain.store.table import made
from cube.config import BASE, link_name
from cube.runtime.errors import ChainError

SET_ASIDE = "it was set aside by a rollback"
NONE_YET = "there was none yet"


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What a build would do about a link that cube.toml wants.

    Args:
        name: of the link.
        link: the one that would be reused, or the one that differs least; None: there is none.
        reused: whether `link` would be; with `below`, only if that is skipped once more.
        reasons: how what is wanted differs from `link` by itself.
        below: the lowest link that would be made anew, where that is another one.
    """

    name: str
    link: Link | None
    reused: bool
    reasons: tuple[str, ...] = ()
    below: str = ""

    @property
    def verdict(self) -> str:
        """Say it in one line."""
        if self.reused:
            return f"reused, if {self.below} is skipped again" if self.below else "reused"
        if self.below:
            return f"made anew, because {self.below} below it is"
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return f"made anew: {self.reasons[0]}{more}"

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "name": self.name,
            "key": self.link.key if self.link else None,
            "reused": self.reused,
            "below": self.below,
            "reasons": list(self.reasons),
            "text": self.verdict,
        }


def fates(planner: Planner) -> list[Fate]:
    """Return what a build would do about every link that is wanted, base first."""
    plan = planner.plan()
    reused = [Fate(name=link.name, link=link, reused=True) for link in plan.links]
    return reused + made_anew(planner, plan)


def made_anew(planner: Planner, plan: Plan) -> list[Fate]:
    """Return what a build would do from the first link on that does not fit."""
    found: list[Fate] = []
    parent = plan.head
    for name in plan.todo:
        wanted = ingredients(planner, plan, name, parent.key if parent else "")
        near, reasons = nearest(planner, wanted)
        below = found[0].name if found else ""
        fate = Fate(name=name, link=near, reused=False, reasons=reasons, below=below)
        if not found:
            fate = replace(fate, reasons=reasons or plan.why)
        elif parent and (link := planner.find(wanted)):
            fate = Fate(name=name, link=link, reused=True, below=below)
        found.append(fate)
        # Above a layer that is skipped once more, a link may still fit.
        if not (fate.link and fate.link.skipped):
            parent = fate.link if fate.reused else None
    return found


def nearest(planner: Planner, wanted: Ingredients) -> tuple[Link | None, tuple[str, ...]]:
    """Return the link that differs least by itself, and how; of equals the newest.

    The link below does not count, nor does the supply of packages while the old one would do: a
    new base only brings a new one along.
    """
    alike = [link for link in reversed(planner.store.links()) if link.name == wanted["name"]]
    if not alike:
        return None, (NONE_YET,)
    lists = {link.key: own_reasons(planner, link, wanted) for link in alike}
    link = min(alike, key=lambda one: len(lists[one.key]))
    return link, tuple(lists[link.key] or ([SET_ASIDE] if link.aside else []))


def own_reasons(planner: Planner, link: Link, wanted: Ingredients) -> list[str]:
    """Say how a link differs from what is wanted, whatever is below it."""
    same = {"parent": link.parent}
    if link.refresh in refresh.stamps(planner.spec.build.refresh, [link.refresh]):
        same |= {"refresh": link.refresh}
    return keys.differences(link.ingredients, {**wanted, **same})


def ingredients(planner: Planner, plan: Plan, name: str, parent: str) -> Ingredients:
    """Return what would make a link on top of a parent."""
    if name == BASE:
        return keys.base_ingredients(planner.spec, refresh=plan.refresh)
    layer = next(number for number in planner.layers if link_name(number) == name)
    return keys.layer_ingredients(
        planner.spec, layer, parent=parent, refresh=plan.refresh, gpus=planner.gpus
    )


def explain(found: Sequence[Fate], name: str) -> list[str]:
    """Say all there is to say about one link.

    Raises:
        ChainError: cube.toml does not want a link of this name.
    """
    by_name = {fate.name: fate for fate in found}
    if name not in by_name:
        raise ChainError(
            f"cube.toml wants no link {name!r}",
            hint=f"it wants {', '.join(by_name)}; layers.enabled says which",
        )
    fate = by_name[name]
    if fate.reused and not fate.below:
        return [f"{told(fate)} would be reused: nothing that makes it has changed"]
    lines = [f"{name} would be {'reused' if fate.reused else 'made anew'}"]
    if fate.below:
        condition = "if this one is skipped again" if fate.reused else "because of what is below it"
        lines = [f"{lines[0]}, {condition}", *listed(by_name[fate.below])]
    return lines if fate.reused else [*lines, *listed(fate)]


def listed(fate: Fate) -> list[str]:
    """List a link's own reasons below a line that names it."""
    if not fate.reasons:
        return [f"{told(fate)}: by itself it would be reused"]
    if not fate.link:
        return [f"{fate.name}: {fate.reasons[0]}"]
    return [f"{told(fate)}:", *(f"  {reason}" for reason in fate.reasons)]


def told(fate: Fate) -> str:
    """Name a link, and when it was made."""
    if not fate.link:
        return fate.name
    how = f"skipped, {fate.link.skipped}" if fate.link.skipped else f"made {made(fate.link)}"
    return f"{fate.name} {fate.link.short} ({how})"
