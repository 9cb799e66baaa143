"""Imports run down, from floor to floor; docs/how-it-works.md has the table of rooms."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from bench.project import copy_sources

PROJECT = Path(__file__).parents[2]
#: The rooms of cube/, highest floor first. A room imports from lower floors only.
FLOORS = (
    ("cli",),
    ("build", "hosts"),
    ("seal",),
    ("baseimage", "provision"),
    ("supply",),
    ("chain",),
    ("machines",),
    ("disks",),
    ("config",),
    ("stack",),
    ("runtime",),
)
FLOOR = {room: number for number, rooms in enumerate(reversed(FLOORS)) for room in rooms}
#: What each other part of the project may import of the others; "cube.config" is one room.
ALLOWED: dict[str, tuple[str, ...]] = {
    "deploy": ("cube.config",),
    "guest": (),
    "checks": ("cube",),
    # How root's shell opens, how commands are framed in it, and how output is masked, is a layer's:
    # its key covers that.
    "cube": ("deploy.connector.framing", "deploy.connector.entry", "deploy.runner.redact"),
}
Arrow = tuple[str, str]


def modules() -> dict[str, Path]:
    """Return every module of the project that is not a test, by its dotted name."""
    found: dict[str, Path] = {}
    for part in ALLOWED:
        for path in (PROJECT / part).rglob("*.py"):
            parts = path.relative_to(PROJECT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules that a module imports, also within functions."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in known else base


def arrows() -> list[Arrow]:
    known = modules()
    return [(name, to) for name, path in known.items() for to in imports(name, path, known)]


def fault(arrow: Arrow) -> str:
    """Say what is wrong with an import; empty where nothing is."""
    (part, *inner), (to_part, *to_inner) = (one.split(".") for one in arrow)
    if to_part not in ALLOWED:
        return ""
    if part != to_part:
        allowed = ALLOWED[part]
        fits = any(f"{arrow[1]}.".startswith(f"{prefix}.") for prefix in allowed)
        return "" if fits else f"{part} imports {arrow[1]}"
    if part != "cube" or not inner or not to_inner or inner[0] == to_inner[0]:
        return ""
    if inner[0] == "__main__":
        return ""
    if FLOOR[inner[0]] > FLOOR[to_inner[0]]:
        return ""
    return f"{inner[0]} imports {to_inner[0]}, which is not below it"


#: Lines that a file, and a function with its decorators, may have.
FILE_LINES, FUNCTION_LINES = 400, 60


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_and_functions_are_short() -> None:
    paths = modules().values()
    long = [str(path) for path in paths if len(path.read_text().splitlines()) > FILE_LINES]
    for path in paths:
        for one in functions(path):
            first = min([one.lineno, *(decorator.lineno for decorator in one.decorator_list)])
            if (one.end_lineno or first) - first + 1 > FUNCTION_LINES:
                long.append(f"{path}: {one.name}")
    assert long == []


def test_every_room_has_a_floor() -> None:
    folders = {
        path.name for path in (PROJECT / "cube").iterdir() if (path / "__init__.py").exists()
    }
    assert folders == set(FLOOR)


def test_only_entry_points_lie_beside_the_rooms() -> None:
    assert {path.name for path in (PROJECT / "cube").glob("*.py")} == {"__init__.py", "__main__.py"}


def test_imports_run_down() -> None:
    assert [(name, why) for name, to in arrows() if (why := fault((name, to)))] == []


@pytest.mark.parametrize(
    ("arrow", "bad"),
    [
        (("cube.cli.build", "cube.build.pipeline"), False),
        (("cube.build.pipeline", "cube.cli.build"), True),
        (("cube.build.pipeline", "cube.hosts.apply"), True),
        (("cube.disks.mount", "cube.machines.ssh"), True),
        (("cube.config.model", "cube.disks.shape"), True),
        (("cube.build.layers", "cube.build.pipeline"), False),
        (("cube.chain.plan", "deploy.runner.layers"), True),
        (("deploy.runner.data", "cube.config.model"), False),
        (("deploy.runner.data", "cube.configuration"), True),
        (("deploy.runner.data", "cube.chain.plan"), True),
        (("guest.gpus.gpu_load", "cube.config"), True),
        (("checks.conftest", "deploy.runner.data"), True),
        (("checks.conftest", "cube.machines"), False),
        (("cube.cli.build", "pathlib"), False),
    ],
)
def test_an_arrow_back_up_is_seen(arrow: Arrow, bad: bool) -> None:
    assert bool(fault(arrow)) is bad


def test_pytest_goes_into_every_folder_of_tests(pytestconfig: pytest.Config) -> None:
    """It left out folders called build. Source: pytest, norecursedirs."""
    left_out = pytestconfig.getini("norecursedirs")
    folders = {path.parent.name for path in (PROJECT / "tests").rglob("test_*.py")}
    assert not [name for name in folders for pattern in left_out if fnmatch(name, pattern)]
    assert "build" in folders


def test_a_copy_of_the_project_has_every_room(tmp_path: Path) -> None:
    """Without its own cube/build, Python took that of the checkout it was installed from."""
    copied = copy_sources(PROJECT, tmp_path / "copy")
    rooms = {path.name for path in (copied / "cube").iterdir() if path.is_dir()}
    assert rooms >= set(FLOOR)
    assert not (copied / "tests").exists()
    assert not (copied / "build").exists()


def test_the_linter_goes_into_every_room() -> None:
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--show-files"]
    done = subprocess.run(ruff, cwd=PROJECT, capture_output=True, text=True, check=True)
    seen = {Path(line) for line in done.stdout.splitlines()}
    assert not set(modules().values()) - seen
