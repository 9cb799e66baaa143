"""The layers of this box, and the last result of its health checks."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from guest.checking.state import ROOT

LAYERS = range(1, 6)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer: empty recipe when it is not on this box; outcome of its last health check."""

    number: int
    recipe: str
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """The last result of cube-health; age in seconds."""

    outcome: str
    summary: str
    faults: tuple[str, ...]
    age_s: float | None


def read_json(path: str) -> dict[str, Any]:
    """Return a state file; nothing when it is missing or damaged."""
    try:
        data = json.loads((ROOT / path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table(data)


def table(data: object) -> dict[str, Any]:
    """Return a JSON object; an empty one in place of anything else."""
    return data if isinstance(data, dict) else {}


def tables(data: object) -> list[dict[str, Any]]:
    """Return the objects of a JSON list."""
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []


def read_layers(health: dict[str, Any]) -> tuple[Layer, ...]:
    """Read which layers this box has, and what the last check of each said."""
    recorded = table(read_json("var/lib/cube/layers.json").get("layers"))
    outcomes = {r.get("check"): str(r.get("outcome", "")) for r in tables(health.get("results"))}
    return tuple(
        Layer(
            number=number,
            recipe=str(table(recorded.get(str(number))).get("recipe", ""))[:8],
            outcome=outcomes.get(f"layer{number}", ""),
        )
        for number in LAYERS
    )


def read_health(health: dict[str, Any]) -> Health:
    """Read the last result of cube-health."""
    age = None
    with contextlib.suppress(KeyError, ValueError, TypeError):
        age = (datetime.now(UTC) - datetime.fromisoformat(health["time"])).total_seconds()
    return Health(
        outcome=str(health.get("outcome", "unknown")),
        summary=str(health.get("summary", "no result yet: sudo cube-health")),
        faults=tuple(read_faults(health)),
        age_s=age,
    )


def read_faults(health: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each check that failed or could not run."""
    for result in tables(health.get("results")):
        if result.get("outcome") == "error":
            yield f"{result.get('check')} could not run: {result.get('reason')}"
        for item in tables(result.get("checks")):
            if item.get("status") == "FAIL":
                yield f"{result.get('check')} {item.get('name')}: {item.get('detail')}"
