"""All rules over a choice, and the nearest choice that works."""

import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

from cube.stack import driver_rules, framework_rules, profile
from cube.stack.choice import Choice, Finding, SourceName, refusal

RULES = (*driver_rules.RULES, *framework_rules.RULES)

#: What a change costs: words in a file are cheap, another system dear, other GPUs dearest.
COSTS = {"source": 1, "profile": 1, "frameworks": 2, "os": 3, "gpu": 6}


def judge(choice: Choice) -> list[Finding]:
    """Apply every rule; where a row is missing that they all stand on, say only that."""
    if unknown := unknown_rows(choice):
        return unknown
    found = [finding for rule in RULES for finding in rule(choice)]
    return list(dict.fromkeys(found))


def refusals(choice: Choice) -> list[Finding]:
    """Return only what cannot work."""
    return [finding for finding in judge(choice) if finding.level == "refusal"]


def unknown_rows(choice: Choice) -> list[Finding]:
    """Refuse a GPU model or an operating system that the table does not have."""
    rows = {"gpu.model": (choice.gpu, choice.table.gpu), "os": (choice.os, choice.table.system)}
    found = []
    for key, (name, known) in rows.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            told = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
            found.append(refusal("unknown", f"{key} {name} is not in the table: {told}"))
    return found


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A choice that works, and what of it differs from the one that does not."""

    choice: Choice
    changes: dict[str, str]

    def __str__(self) -> str:
        """Say what to change."""
        return ", ".join(f"{key} = {value}" for key, value in self.changes.items())


def nearest(choice: Choice) -> Advice | None:
    """Search for the choice that works by the fewest, cheapest changes.

    Returns:
        None where none of the shipped profiles, sources, systems and GPU models goes.
    """
    found = [
        (sum(COSTS[key] for key in changed), index, changed, other)
        for index, other in enumerate(others(choice))
        if (changed := changes(choice, other)) and not refusals(other)
    ]
    if not found:
        return None
    _, _, changed, other = min(found, key=lambda one: one[:2])
    return Advice(choice=other, changes=changed)


def others(choice: Choice) -> Iterator[Choice]:
    """Return every combination, beginning with what was chosen."""
    shipped = [profile.load(name) for name in profile.names()]
    profiles = [choice.profile, *(one for one in shipped if one.name != choice.profile.name)]
    sources = sorted(get_args(SourceName), key=lambda one: one != choice.source)
    systems = sorted(choice.table.system, key=lambda one: one != choice.os)
    models = sorted(choice.table.gpu, key=lambda one: one != choice.gpu)
    for gpu, os, chosen, source in itertools.product(models, systems, profiles, sources):
        known = tuple(name for name in choice.frameworks if name in chosen.frameworks)
        for frameworks in dict.fromkeys((choice.frameworks, known)):
            yield replace(
                choice, gpu=gpu, os=os, profile=chosen, source=source, frameworks=frameworks
            )


def changes(choice: Choice, other: Choice) -> dict[str, str]:
    """Return the values of another choice that differ."""
    told = {"source": "source", "os": "os", "gpu": "gpu"}
    found = {
        key: getattr(other, name)
        for key, name in told.items()
        if getattr(other, name) != getattr(choice, name)
    }
    if other.profile != choice.profile:
        found["profile"] = other.profile.name
    if other.frameworks != choice.frameworks:
        found["frameworks"] = " ".join(other.frameworks) or "none"
    return found
