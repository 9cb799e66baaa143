"""Pages for people: Jinja templates that become one HTML file with its style inside."""

from pathlib import Path

import jinja2

from cube.runtime import units

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
    jinja.filters.update(size=units.size, duration=units.duration)
    return jinja
