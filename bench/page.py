"""The page of figures, put together from what each benchmark measured last.

A benchmark adds its data to the folder that has the page's name; the page is then written anew.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import hosts_table, seal_table, table
from bench.peers import report
from cube.runtime.errors import CubeError

HEAD = """# Speed

Written by `make bench`; do not edit it. Each table is of one run on one machine. What is compared,
and how: [bench/README.md](../bench/README.md).
"""

Data = Any
#: What each benchmark's data become, in the page's order: title, and a function of data and folder.
SECTIONS: Mapping[str, tuple[str, Callable[[Data, Path], str]]] = {
    "speed": ("Against Ansible", report.section),
    "hosts": ("Many hosts", hosts_table.section),
    "seal": ("The seal", seal_table.section),
    "chain": ("The layer chain", lambda data, _: table.section(data)),
}


def add(page: Path, name: str, data: Data) -> None:
    """Keep a benchmark's data, and write the page.

    Args:
        page: "docs/bench.md"; the data lie in docs/bench/.
        name: of the benchmark, a key of SECTIONS.
        data: JSON-like.
    """
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(data, indent=2) + "\n")
    page.write_text(render(folder))


def data(page: Path, name: str) -> Data:
    """Return what a benchmark measured last.

    Raises:
        CubeError: it was never run.
    """
    file = page.with_suffix("") / f"{name}.json"
    if not file.is_file():
        raise CubeError(f"{file}: there is nothing to keep", hint="run it without --keep")
    return json.loads(file.read_text())


def render(folder: Path) -> str:
    """Return the page of the data in a folder; what was never measured is left out."""
    parts = [HEAD]
    for name, (title, show) in SECTIONS.items():
        file = folder / f"{name}.json"
        if file.exists():
            parts += [f"## {title}", show(json.loads(file.read_text()), folder)]
    return "\n".join(f"{part.strip()}\n" for part in parts)
