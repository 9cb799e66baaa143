"""Pages for people: Jinja templates that become one HTML file with its style inside."""

from pathlib import Path

import jinja2

#: The folder with ``page.css``.
HERE = Path(__file__).parent


def environment(folder: Path) -> jinja2.Environment:
    """Return Jinja with our filters and the templates of a folder; an unknown name is an error."""
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(size=format_size, duration=format_duration)
    return jinja


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
