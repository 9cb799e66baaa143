"""A link of the chain, and what is written down beside its disk."""

import json
import typing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cube.chain.key.keys import Ingredients
from cube.runtime import documents
from cube.runtime.check_report import Check
from cube.runtime.errors import ChainError

DISK = "disk.qcow2"
RECORD = "link.json"
#: Beside a link that a rollback took out of use; a build makes it anew.
ASIDE = "aside"
#: Of a key, as much as a person needs.
SHORT = 12
#: Of a key, what a person must write at least.
SHORTEST = 4


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """What became of a layer. Times are in seconds.

    Args:
        layer: its number.
        skipped: why it was not applied; empty when it was.
        reason: why it was, where that is decided; empty where a layer always applies.
        operations: how many the layer has.
        changed: how many of them changed something on the first application.
        execs: commands that the first application ran over SSH.
        repeat_execs: the same for the second application, which changed nothing.
        apply_s: the first application.
        repeat_s: the second application.
        check_s: its checks.
        seconds: all of it, with boots.
        checks: what they found.
    """

    layer: int
    skipped: str = ""
    reason: str = ""
    operations: int = 0
    changed: int = 0
    execs: int = 0
    repeat_execs: int = 0
    apply_s: float = 0.0
    repeat_s: float = 0.0
    check_s: float = 0.0
    seconds: float = 0.0
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Link:
    """A frozen link: a folder with ``link.json`` and, unless it was skipped, ``disk.qcow2``.

    Args:
        folder: where it is; not part of the record.
        name: ``base``, ``layer1`` ...
        key: sha256 of `ingredients`, in hexadecimal.
        parent: key of the link below; empty for the base.
        refresh: the supply of packages.
        created: when it was frozen, in UTC.
        seconds: how long it took to make.
        size_bytes: of the disk's file.
        sha256: of the disk's file.
        ingredients: what made it.
        layer: what became of the layer; None for the base.
    """

    folder: Path
    name: str
    key: str
    parent: str
    refresh: str
    created: str
    seconds: float
    size_bytes: int
    sha256: str
    ingredients: Ingredients
    layer: LayerRecord | None = None

    @property
    def disk(self) -> Path:
        """The qcow2 file."""
        return self.folder / DISK

    @property
    def skipped(self) -> str:
        """Why there is no disk; empty when there is one."""
        return self.layer.skipped if self.layer else ""

    @property
    def aside(self) -> bool:
        """Whether a rollback took it out of use."""
        return (self.folder / ASIDE).exists()

    @property
    def short(self) -> str:
        """Its key, shortened."""
        return self.key[:SHORT]

    def goes_by(self, word: str) -> bool:
        """Tell whether a word is the link's name, or the beginning of its key."""
        return word == self.name or (len(word) >= SHORTEST and self.key.startswith(word))

    def render(self) -> str:
        """Return link.json."""
        data = asdict(self)
        del data["folder"]
        return json.dumps(data, indent=2) + "\n"


#: Of what the record holds; `folder` is not in it.
TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "key", "parent", "refresh", "created", "sha256"), str),
    "seconds": (int, float),
    "size_bytes": int,
    "ingredients": dict,
    "layer": (dict, type(None)),
}
#: Of the parts of its layer: the fields of `LayerRecord` and of `Check`, by what they hold.
KINDS: dict[object, type | tuple[type, ...]] = {int: int, str: str, float: (int, float)}


def read(folder: Path) -> Link:
    """Read the link in a folder.

    Raises:
        ChainError: the record is missing, damaged, or not of its own folder; or part of the link
            is kept elsewhere.
    """
    path = folder / RECORD
    refuse_elsewhere(folder)
    try:
        link = parse(folder, documents.parse(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ChainError(f"{path}: cannot be read as a link record: {reason}") from error
    if folder.name != folder_name(link.name, link.key):
        raise ChainError(f"{path}: belongs to {folder_name(link.name, link.key)}")
    return link


def parse(folder: Path, data: Any) -> Link:  # noqa: ANN401 (whatever JSON can hold)
    """Build a link from its record.

    Raises:
        KeyError: something is missing.
        TypeError: something is of another type, or unknown.
        ValueError: it was made at no time.
    """
    check_types(data)
    layer = data.pop("layer")
    datetime.fromisoformat(data["created"])
    return Link(folder=folder, layer=parse_layer(layer) if layer else None, **data)


def parse_layer(data: dict[str, Any]) -> LayerRecord:
    """Build what is noted of a layer.

    Raises:
        KeyError: something is missing.
        TypeError: something is of another type, or unknown.
    """
    if not isinstance(data["checks"], list):
        raise TypeError("checks is no list")
    checks = tuple(checked(Check(**check)) for check in data.pop("checks"))
    return checked(LayerRecord(**data, checks=checks))


Noted = typing.TypeVar("Noted", Check, LayerRecord)


def checked(noted: Noted) -> Noted:
    """Return what is noted, once its numbers and texts are such.

    Raises:
        TypeError: one is not.
    """
    for name, kind in typing.get_type_hints(type(noted)).items():
        value = getattr(noted, name)
        wanted = KINDS.get(kind, str if typing.get_origin(kind) is typing.Literal else object)
        if not isinstance(value, wanted):
            raise TypeError(f"{name} is {value!r:.40}")
    return noted


def refuse_elsewhere(folder: Path) -> None:
    """Refuse a link of which a part is a symbolic link: nobody keeps what that leads to.

    Raises:
        ChainError: the folder, the record or the disk is one.
    """
    for path in (folder, folder / RECORD, folder / DISK):
        if path.is_symlink():
            raise ChainError(
                f"{path}: a symbolic link, so it is not kept in the store",
                hint=f"move what it leads to here, or remove it: rm {path}",
            )


def check_types(data: Any) -> None:  # noqa: ANN401 (see parse)
    """Compare a record with the types of a link's fields."""
    if not isinstance(data, dict):
        raise TypeError("no JSON object")
    for name, kinds in TYPES.items():
        if not isinstance(data[name], kinds):
            raise TypeError(f"{name} is {data[name]!r:.40}")


def folder_name(name: str, key: str) -> str:
    """Return the name of a link's folder."""
    return f"{name}-{key[:SHORT]}"
