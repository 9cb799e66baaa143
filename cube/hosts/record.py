"""What a box says of itself: /var/lib/cube/layers.json, written by `deploy/runner/record.py`."""

import hashlib
from dataclasses import dataclass

from cube.hosts import remote
from cube.hosts.target import Box
from cube.runtime import documents
from cube.runtime.errors import DriftError

FILE = "/var/lib/cube/layers.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A layer that a box claims to have.

    Args:
        layer: its number.
        applied: when, in UTC.
        recipe: sha256 of the sources that made it; empty when it is not known.
        roles: of which it was made.
        key: of the layer; empty when it is not known.
    """

    layer: int
    applied: str
    recipe: str
    roles: tuple[str, ...]
    key: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """The layers that a box claims, lowest first.

    Args:
        entries: a layer each.
        problem: why there are none; empty when the box has a record.
        digest: sha256 of the file; that of nothing when it is missing.
    """

    entries: tuple[Entry, ...] = ()
    problem: str = ""
    digest: str = ""

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers."""
        return tuple(entry.layer for entry in self.entries)

    @property
    def summary(self) -> str:
        """A line like "layers 1 and 5"."""
        if not self.entries:
            return "no layers"
        *most, last = [str(layer) for layer in self.layers]
        return f"layers {', '.join(most)} and {last}" if most else f"layer {last}"

    def entry(self, layer: int) -> Entry | None:
        """Return what is claimed of a layer."""
        return next((entry for entry in self.entries if entry.layer == layer), None)

    def key_below(self, layer: int) -> str:
        """Return the key of the next layer below; empty when there is none."""
        below = [entry.key for entry in self.entries if entry.layer < layer]
        return below[-1] if below else ""


def read(box: Box) -> Record:
    """Read the record of a box.

    Raises:
        MachineError: the box does not let us in.
    """
    return parse(remote.execute(box, f"if [ -e {FILE} ]; then cat {FILE}; fi").stdout)


def parse(text: str) -> Record:
    """Read a record's text; an empty one is a record that is missing."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    if not text:
        return Record(problem=f"{FILE} is missing", digest=digest)
    try:
        rows = documents.parse(text)["layers"]
        entries = [parse_entry(int(layer), row) for layer, row in rows.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Record(problem=f"{FILE} is damaged ({error})", digest=digest)
    if not entries:
        return Record(problem=f"{FILE} names no layer", digest=digest)
    return Record(entries=tuple(sorted(entries, key=lambda one: one.layer)), digest=digest)


def parse_entry(layer: int, row: dict[str, object]) -> Entry:
    """Read one layer; what an older release did not note is empty."""
    roles = row["roles"]
    if not isinstance(roles, list):
        raise TypeError(f"the roles of layer {layer} are no list")
    return Entry(
        layer=layer,
        applied=str(row["applied"]),
        recipe=str(row.get("recipe", "")),
        roles=tuple(str(role) for role in roles),
        key=str(row.get("key", "")),
    )


def require(box: Box) -> Record:
    """Read the record of a box that must claim something.

    Raises:
        DriftError: it claims nothing.
        MachineError: the box does not let us in.
    """
    found = read(box)
    if found.problem:
        raise DriftError(
            f"{box.name} claims no layer: {found.problem}",
            hint=f"apply them, which notes them too: cube apply {box.name}",
        )
    return found
