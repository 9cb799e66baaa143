"""What a layer is made from: the files that its roles use, and the data that they read.

Found by reading the sources, not by running them, so that the answer depends on nothing else.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from cube.errors import CubeError

#: The package whose modules are followed.
PACKAGE = "deploy"


def role_files(project: Path, roles: Sequence[str]) -> list[Path]:
    """Return every file that the roles of a layer may use, sorted.

    Args:
        project: the folder that holds ``deploy/``.
        roles: names; a role is ``deploy/roles/NAME.py`` with the folders
            ``deploy/files/NAME`` and ``deploy/templates/NAME``.

    Returns:
        The runner of the layers, the roles, all modules of ``deploy`` that these import, and
        the roles' files and templates. A role that this release lacks adds nothing.
    """
    names = ["deploy.layers", *(f"deploy.roles.{role}" for role in roles)]
    found = set(modules(project, names))
    for role in roles:
        for kind in ("files", "templates"):
            found.update(tree(project / PACKAGE / kind / role))
    return sorted(found)


def tree(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted; what Python caches is none of ours."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )


def modules(project: Path, names: Iterable[str]) -> list[Path]:
    """Return the files of modules of ``deploy`` and of all that they import of it, sorted."""
    todo, found = list(names), set[Path]()
    while todo:
        for path in files_of(project, todo.pop()):
            if path not in found:
                found.add(path)
                todo += imports(path)
    return sorted(found)


def files_of(project: Path, module: str) -> list[Path]:
    """Return the file of a module and those of the packages that hold it; those that exist."""
    parts = module.split(".")
    folders = [project.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    candidates = [folder / "__init__.py" for folder in folders]
    candidates.append(folders[-1].with_suffix(".py"))
    return [path for path in candidates if path.is_file()]


def imports(path: Path) -> list[str]:
    """Name the modules of ``deploy`` that a file imports; of "from X import Y" both X and X.Y."""
    names: list[str] = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == PACKAGE]


@cache
def parse_text(text: str, name: str) -> ast.Module:
    """Parse a module once."""
    return ast.parse(text, name)


def parse(path: Path) -> ast.Module:
    """Return a module's syntax tree.

    Raises:
        CubeError: it is no Python.
    """
    try:
        return parse_text(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise CubeError(
            f"{path}, line {error.lineno}: {error.msg}", hint="correct the file"
        ) from error


def data_names(paths: Iterable[Path]) -> list[str]:
    """Name the keys of `host.data` that modules read: by `deploy.data.read`, or one by one.

    Raises:
        CubeError: a module reads data in a way that does not show which.
    """
    trees = [parse(path) for path in paths]
    fields = {
        node.name: [
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]
        for tree_ in trees
        for node in ast.walk(tree_)
        if isinstance(node, ast.ClassDef)
    }
    names: set[str] = set()
    for tree_ in trees:
        names.update(single_reads(tree_))
        for cls in class_reads(tree_):
            if cls not in fields:
                raise CubeError(
                    f"read({cls}): no dataclass of this name is in the role's own modules",
                    hint="give deploy.data.read the class itself, defined where it is used",
                )
            names.update(fields[cls])
    return sorted(names)


def class_reads(tree_: ast.Module) -> Iterator[str]:
    """Yield what is given to `read`, as it is written."""
    for node in ast.walk(tree_):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "read"
            and node.args
        ):
            yield ast.unparse(node.args[0])


def single_reads(tree_: ast.Module) -> Iterator[str]:
    """Yield NAME of every ``host.data.NAME``; the methods of the data are no keys."""
    for node in ast.walk(tree_):
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == "host.data"
            and node.attr not in {"dict", "get"}
        ):
            yield node.attr


def hashes(project: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of files by their path below the project; times and modes do not count."""
    return {
        path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }
