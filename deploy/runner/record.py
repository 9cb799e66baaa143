"""The box remembers which layers it has: /var/lib/cube/layers.json."""

import json
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import Any

from pyinfra import host
from pyinfra.api import FactBase, StringCommand, operation

from deploy.operations.files import put_script

LAYERS_FILE = "/var/lib/cube/layers.json"

Layers = dict[str, dict[str, Any]]


class RecordedLayers(FactBase[Layers]):
    """The layers that the box remembers, by number; empty when the file is missing or damaged."""

    def command(self) -> str:
        """Print the file; a missing one is no error."""
        return f"cat {LAYERS_FILE} 2>/dev/null || true"

    @staticmethod
    def default() -> Layers:
        """Return no layer."""
        return {}

    def process(self, output: list[str]) -> Layers:
        """Parse it."""
        try:
            layers = json.loads("\n".join(output))["layers"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}
        if not isinstance(layers, dict):
            return {}
        return {number: entry for number, entry in layers.items() if isinstance(entry, dict)}


@operation()
def record(
    layer: int, *, recipe: str, roles: Sequence[str], key: str = ""
) -> Generator[StringCommand, None, None]:
    """Note a layer that is now on the box; a second time of the same changes nothing.

    Args:
        layer: 1 to 5.
        recipe: sha256 of the layer's sources; empty when it is not known.
        roles: of which the layer was made.
        key: of the link that holds the layer; empty outside a chain.
    """
    recorded: Layers = host.get_fact(RecordedLayers)
    layers = add(recorded, layer, what=described(recipe, roles, key), now=datetime.now(UTC))
    if layers == recorded:
        host.noop(f"layer {layer} is on record")
        return
    script = put_script(LAYERS_FILE, mode="644", user="root", group="root", validate="")
    yield StringCommand(script, _stdin=render_layers(layers))


def described(recipe: str, roles: Sequence[str], key: str) -> dict[str, Any]:
    """Return what is noted of a layer; without a key, the one on record stays."""
    return {"recipe": recipe, "roles": list(roles), **({"key": key} if key else {})}


def add(recorded: Layers, layer: int, *, what: dict[str, Any], now: datetime) -> Layers:
    """Return what is recorded once a layer was applied; the same layer keeps its first time."""
    before = recorded.get(str(layer), {})
    if what.items() <= before.items():
        return recorded
    return {**recorded, str(layer): {"applied": now.strftime("%Y-%m-%dT%H:%M:%SZ"), **what}}


def render_layers(layers: Layers) -> str:
    """Return /var/lib/cube/layers.json, the layers in order."""
    return json.dumps({"layers": dict(sorted(layers.items()))}, indent=2) + "\n"


def record_layer(layer: int) -> None:
    """Add the operation that notes a layer; call it after the layer's last role."""
    record(
        name=f"Note that layer {layer} is on this box",
        layer=layer,
        recipe=str(host.data.get("layer_recipes", {}).get(str(layer), "")),
        roles=list(getattr(host.data, f"layer{layer}_roles")),
        key=str(host.data.get("layer_keys", {}).get(str(layer), "")),
    )
