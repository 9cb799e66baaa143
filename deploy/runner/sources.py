"""The files that roles put on a host.

`deploy/files/` and `guest/` are copied as they are, `deploy/templates/` are filled in.
"""

import dataclasses
from pathlib import Path

import jinja2

#: The folder ``deploy/``.
ROOT = Path(__file__).resolve().parents[1]
#: The folder of the programs that run on a host.
GUEST = ROOT.parent / "guest"
#: Where the modules of `GUEST` are on a host, as one package.
ON_HOST = "/usr/local/lib/cube/guest"

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


class Programs:
    """The programs of one place below ``guest/``, a folder or a file.

    A layer's key covers the places that its roles name here, so a place is written as a literal.
    """

    def __init__(self, place: str) -> None:
        self.path = GUEST / place

    def text(self, name: str = "") -> str:
        """Return a file of the folder, or the file that the place is."""
        return (self.path / name).read_text()

    def modules(self) -> dict[str, str]:
        """Return the place's Python modules by their path on a host."""
        found = sorted(self.path.rglob("*.py")) if self.path.is_dir() else [self.path]
        return {f"{ON_HOST}/{path.relative_to(GUEST)}": path.read_text() for path in found}


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
