"""A validation for people: one HTML file that needs nothing beside it."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from cube.build import report

TEMPLATE = "validation.html.j2"

VERDICTS = {
    "passed": "Passed",
    "failed": "Failed",
    "incomplete": "Incomplete: a suite did not run",
}
EVIDENCE = {
    "hardware": "measured on this machine's GPUs",
    "cpu": "run on processors only: it says nothing of GPUs",
    "simulated": "SIMULATED: it proves nothing about a machine",
    "none": "nothing ran",
}


def render(data: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        data: a validation, as `cube.hosts.validation.record.as_data` returns it.
    """
    template = report.environment().get_template(TEMPLATE)
    return template.render(
        **data,
        headline=VERDICTS[data["verdict"]],
        proof=EVIDENCE[data["evidence"]],
        parts=[part(suite) for suite in data["suites"]],
    )


def part(suite: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a suite: failures first, its plots beside them."""
    # matplotlib takes 0.4 s to import, and nearly every command draws nothing.
    from cube.hosts.validation import charts  # noqa: PLC0415

    order = {"FAIL": 0, "SKIP": 1, "OK": 2}
    rows = sorted(suite["findings"], key=lambda one: order[one["status"]])
    return {
        **suite,
        "rows": rows,
        # The numbers are our own suites', and matplotlib escapes their names.
        "plots": [Markup(svg) for svg in charts.plots(suite["figures"])],  # noqa: S704
        "numbers": charts.scalars(suite["figures"]),
    }
