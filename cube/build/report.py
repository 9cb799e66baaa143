"""The report: the manifest for people, one HTML file that needs nothing beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from cube.runtime.atomic import write_whole
from cube.runtime.redact import masked_data

HERE = Path(__file__).parent
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
        data: a manifest, with what `cube.build.timeline.Timeline.as_data` returns; after a failure as
            much of it as there is.
        failure: why the build stopped; None when it succeeded.
    """
    data = masked_data(dict(data))
    template = environment().get_template(TEMPLATE)
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


def environment() -> jinja2.Environment:
    """Return Jinja with our filters; a name that is not given is an error."""
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader([HERE, HERE.parent / "hosts/validation"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(size=format_size, duration=format_duration)
    return jinja


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
        found.append({"text": text, "start": start, "depth": 0, "outcome": outcome,
                      "seconds": stage["seconds"]})  # fmt: skip
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


def format_size(count: float) -> str:
    """Return bytes in decimal units, as disks are sold: 1.09 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 (the step between two units)
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def format_duration(seconds: float) -> str:
    """Return seconds as people say them: 0.4 s, 12 s, 2 min 5 s, 1 h 3 min."""
    whole = round(seconds)
    if seconds < 10:  # noqa: PLR2004 (below it, tenths matter)
        return f"{seconds:.1f} s"
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
