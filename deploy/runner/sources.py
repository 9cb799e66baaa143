"""The files that roles put on a host: `deploy/files/` as they are, `deploy/templates/` filled."""

import dataclasses
from pathlib import Path

import jinja2

ROOT = Path(__file__).resolve().parent

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOT / "templates"),
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # noqa: S701 (configuration files, not HTML)
)


def file_text(name: str) -> str:
    """Return a file of deploy/files, named relative to it."""
    return (ROOT / "files" / name).read_text()


def template_text(name: str, data: object = None, **values: object) -> str:
    """Fill a template of deploy/templates, named relative to it.

    Args:
        name: the template, "docker/daemon.json.j2".
        data: a dataclass whose fields become variables.
        values: further variables.
    """
    fields = (
        dataclasses.asdict(data)
        if dataclasses.is_dataclass(data) and not isinstance(data, type)
        else {}
    )
    return _environment.get_template(name).render(**fields, **values)
