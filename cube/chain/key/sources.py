"""What a layer is made from: the files that its roles use, and the data that they read.

Found by reading the sources, not by running them, so that the answer depends on nothing else.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from cube.runtime.errors import CubeError

#: The package whose modules are followed.
PACKAGE = "deploy"
#: The module that reads `host.data` for the others, by its function `read`.
READER = ("runner", "data.py")
READER_NAMES = {"data", "deploy.runner.data"}
#: The folder of the programs that run on a host; `deploy.runner.sources.Programs` opens them.
GUEST = "guest"
#: What of a module is looked at.
KINDS = (ast.Import, ast.ImportFrom, ast.alias, ast.ClassDef, ast.Call, ast.Attribute, ast.Name)


def role_files(project: Path, roles: Sequence[str]) -> list[Path]:
    """Return every file that the roles of a layer may use, sorted.

    Args:
        project: the folder that holds ``deploy/``.
        roles: names; a role is ``deploy/roles/NAME.py`` with the folders
            ``deploy/files/NAME`` and ``deploy/templates/NAME``.

    Returns:
        The runner of the layers, the roles, all modules of ``deploy`` that these import, and
        the files and templates of these roles and of those that they import, and the programs
        of ``guest/`` that all of these name. A role that this release lacks adds nothing.
    """
    names = ["deploy.runner.layers", *(f"deploy.roles.{role}" for role in roles)]
    found = set(modules(project, names))
    imported = {path.stem for path in found if path.parent == project / PACKAGE / "roles"}
    for role in {*roles, *imported}:
        for kind in ("files", "templates"):
            found.update(tree(project / PACKAGE / kind / role))
    for place in guest_places(modules(project, names)):
        found.update(tree(project / GUEST / place))
    return sorted(found)


def guest_places(paths: Iterable[Path]) -> list[str]:
    """Name the places below ``guest/`` that modules open by ``Programs("PLACE")``.

    Raises:
        CubeError: a module opens one in a way that does not show which.
    """
    return sorted({place for path in paths for place in opened_places(path)})


def opened_places(path: Path) -> Iterator[str]:
    """Yield the places below ``guest/`` that one module opens."""
    called = set[ast.AST]()
    for node in nodes(path):
        match node:
            case ast.Call(func=ast.Name(id="Programs"), args=[ast.Constant(str(place))]):
                called.add(node.func)
                yield place
            case ast.Name(id="Programs") if node not in called:
                raise unclear(path, node, 'write Programs("PLACE")')
            case ast.alias(name="Programs", asname=str()):
                raise unclear(path, node, "import Programs under its own name")


def tree(folder: Path) -> list[Path]:
    """Return every file below a folder, or a file alone, sorted; what Python caches is left out."""
    return sorted(
        path
        for path in (folder, *folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )


def modules(project: Path, names: Iterable[str]) -> list[Path]:
    """Return the files of modules of ``deploy`` and of all that they import of it, sorted."""
    todo, asked, found = set(names), set[str](), set[Path]()
    while todo:
        asked.add(name := todo.pop())
        for path in files_of(project, name):
            if path not in found:
                found.add(path)
                todo |= {*imports(project, path)} - asked
    return sorted(found)


def files_of(project: Path, module: str) -> list[Path]:
    """Return the file of a module and those of the packages that hold it; those that exist."""
    parts = module.split(".")
    folders = [project.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    candidates = [folder / "__init__.py" for folder in folders]
    candidates.append(folders[-1].with_suffix(".py"))
    return [path for path in candidates if path.is_file()]


def imports(project: Path, path: Path) -> list[str]:
    """Name the modules of ``deploy`` that a file imports; of "from X import Y" both X and X.Y."""
    package = path.parent.relative_to(project).parts
    names: list[str] = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == PACKAGE]


@cache
def parse(text: str, name: str) -> Sequence[ast.AST]:
    """Parse a module once."""
    return tuple(node for node in ast.walk(ast.parse(text, name)) if isinstance(node, KINDS))


def nodes(path: Path) -> Sequence[ast.AST]:
    """Return the nodes of a module that are of KINDS; what holds a node comes before it.

    Raises:
        CubeError: it is no Python.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise CubeError(f"{path}{line}: {what}", hint="correct the file") from error


def data_names(paths: Iterable[Path]) -> list[str]:
    """Name the keys of `host.data` that modules read: by `deploy.runner.data.read`, or one by one.

    Raises:
        CubeError: a module reads data in a way that does not show which.
    """
    readers = [path for path in paths if path.parts[-2:] != READER]
    return sorted({name for path in readers for name in (*class_reads(path), *key_reads(path))})


def class_reads(path: Path) -> Iterator[str]:
    """Yield the fields of every class that a module gives to `deploy.runner.data.read`."""
    classes = {node.name: node for node in nodes(path) if isinstance(node, ast.ClassDef)}
    called = set[ast.AST]()
    for node in nodes(path):
        if isinstance(node, ast.Call) and is_read(node.func):
            called.add(node.func)
            given = [*node.args, *(word.value for word in node.keywords)]
            yield from fields(path, node, classes.get(ast.unparse(given[0])) if given else None)
        elif is_read(node) and node not in called:
            raise unclear(path, node, "call read, hand it to nobody")
        elif isinstance(node, ast.alias) and hides_read(node):
            raise unclear(path, node, "write: from deploy.runner.data import read")


def is_read(node: ast.AST) -> bool:
    """Tell the name of `deploy.runner.data.read`; `hides_read` sees to it that it has no other."""
    return isinstance(node, ast.Name) and node.id == "read"


def hides_read(alias: ast.alias) -> bool:
    """Tell an import by which `deploy.runner.data.read` could be called without that name."""
    return alias.name in READER_NAMES or (alias.name == "read" and bool(alias.asname))


def fields(path: Path, call: ast.Call, cls: ast.ClassDef | None) -> list[str]:
    """Name the fields of a dataclass; those that it would inherit are not seen."""
    if cls is None or cls.bases:
        raise unclear(path, call, "give read a class of this very module that inherits nothing")
    items = [item for item in cls.body if isinstance(item, ast.AnnAssign)]
    return [item.target.id for item in items if isinstance(item.target, ast.Name)]


def key_reads(path: Path) -> Iterator[str]:
    """Yield every key that a module reads by itself."""
    told = set[ast.AST]()
    for node in nodes(path):
        name, data = key_read(node)
        if data:
            told.add(data)
            yield name
        elif (is_data(node) and node not in told) or hides_data(node):
            raise unclear(path, node, "write host.data.KEY")


def key_read(node: ast.AST) -> tuple[str, ast.AST | None]:
    """Return the key that an expression reads, and what it reads it from."""
    match node:
        case ast.Attribute(value=data, attr=name) if name not in {"dict", "get"}:
            pass
        case ast.Call(func=ast.Attribute(value=data, attr="get"), args=[ast.Constant(name), *_]):
            pass
        case ast.Call(func=ast.Name("getattr"), args=[data, ast.Constant(name), *_]):
            pass
        case _:
            return "", None
    return (str(name), data) if is_data(data) else ("", None)


def is_data(node: ast.AST) -> bool:
    """Tell ``host.data``, whatever the host is called before ``host``."""
    return isinstance(node, ast.Attribute) and node.attr == "data" and is_host(node.value)


def hides_data(node: ast.AST) -> bool:
    """Tell the data of something else, which may be the host under another name."""
    match node:
        case ast.Attribute(value=owner, attr="data"):
            return not is_host(owner)
        case ast.Call(func=ast.Name("getattr" | "vars"), args=[owner, *_]):
            return is_host(owner)
    return False


def is_host(node: ast.AST) -> bool:
    """Tell the host, whatever it is called before ``host``."""
    return ast.unparse(node).endswith("host")


def unclear(path: Path, node: ast.AST, remedy: str) -> CubeError:
    """Build the error for a read that hides its key: the layer would miss a change of it."""
    text = ast.unparse(node)
    return CubeError(
        f"{path}, line {getattr(node, 'lineno', '?')}: {text}: unclear which data it reads",
        hint=remedy,
    )


def hashes(project: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of files by their path below the project; times and modes do not count."""
    return {
        path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }
