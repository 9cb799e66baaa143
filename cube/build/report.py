"""The report: the manifest for people, one HTML file that needs nothing beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube.runtime import html
from cube.runtime.atomic import write_whole
from cube.runtime.redact import masked_data

TEMPLATE = "report.html.j2"
#: How many of the slowest operations are shown.
SLOWEST = 10


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a build stopped: the error's three parts, and the stage that it came from."""

    stage: str
    message: str
    hint: str = ""
    details: str = ""


def write(path: Path, data: Mapping[str, Any], failure: Failure | None = None) -> None:
    """Render a report and put it in its place whole. See `render`."""
    write_whole(path, render(data, failure))


def render(data: Mapping[str, Any], failure: Failure | None = None) -> str:
    """Return the page.

    Args:
        data: a manifest, with what `cube.build.timeline.Timeline.as_data` returns; after a failure
            as much of it as there is.
        failure: why the build stopped; None when it succeeded.
    """
    data = masked_data(dict(data))
    template = html.environment(Path(__file__).parent).get_template(TEMPLATE)
    return template.render(
        image={"name": "Image", "version": "", "built_at": "", **data.get("image", {})},
        os=data.get("os"),
        verdict=verdict(data, failure),
        failure=failure,
        stages=group(bars(data.get("steps") or steps(data.get("stages", []), failure))),
        operations=data.get("operations", []),
        seconds=data.get("seconds", 0.0),
        links=data.get("links", []),
        layers=data.get("layers", []),
        checks=by_outcome(data.get("checks", {}).get("results", [])),
        proof=data.get("proof"),
        artifact=data.get("artifact"),
        versions=data.get("versions", {}),
        packages=data.get("packages", {}),
        builder=data.get("builder"),
    )


def verdict(data: Mapping[str, Any], failure: Failure | None) -> str:
    """Return failed, built or certified."""
    return "failed" if failure else str(data["status"])


def steps(stages: list[dict[str, Any]], failure: Failure | None) -> list[dict[str, Any]]:
    """Return a manifest's stages as steps, where there is no timeline; the last one failed."""
    found: list[dict[str, Any]] = []
    start = 0.0
    for stage in stages:
        outcome = "failed" if failure and stage is stages[-1] else "done"
        text = f"Stage {stage['number']}: {stage['name']}"
        found.append(
            {
                "text": text,
                "start": start,
                "depth": 0,
                "outcome": outcome,
                "seconds": stage["seconds"],
            }
        )
        start += stage["seconds"]
    return found


def bars(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each step where its bar begins and how wide it is, in percent of the whole."""
    total = max((step["start"] + step["seconds"] for step in steps), default=0.0) or 1.0
    return [
        {**step, "left": 100 * step["start"] / total, "width": 100 * step["seconds"] / total}
        for step in steps
    ]


def group(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the steps that lie within an outermost one below it, as its ``steps``."""
    outermost: list[dict[str, Any]] = []
    for step in steps:
        if step["depth"] == 0 or not outermost:
            outermost.append({**step, "steps": []})
        else:
            outermost[-1]["steps"].append(step)
    return outermost


def by_outcome(checks: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Sort checks into failed, deferred and passed."""
    return {
        outcome: [check for check in checks if check["outcome"] == outcome]
        for outcome in ("failed", "deferred", "passed")
    }
