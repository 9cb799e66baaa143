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
        except (ValueError, KeyError, TypeError):
            return {}
        if not isinstance(layers, dict):
            return {}
        return {number: entry for number, entry in layers.items() if isinstance(entry, dict)}


@operation()
def record(
    layer: int, *, version: str, roles: Sequence[str]
) -> Generator[StringCommand, None, None]:
    """Note a layer that is now on the box; a second time of the same changes nothing.

    Args:
        layer: 1 to 5.
        version: of the image that the layer belongs to.
        roles: of which the layer was made.
    """
    recorded: Layers = host.get_fact(RecordedLayers)
    layers = add(recorded, layer, version=version, roles=roles, now=datetime.now(UTC))
    if layers == recorded:
        host.noop(f"layer {layer} is on record")
        return
    script = put_script(LAYERS_FILE, mode="644", user="root", group="root", validate="")
    yield StringCommand(script, _stdin=render_layers(layers))


def add(
    recorded: Layers, layer: int, *, version: str, roles: Sequence[str], now: datetime
) -> Layers:
    """Return what is recorded once a layer was applied; the same layer keeps its first time."""
    what = {"version": version, "roles": list(roles)}
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
        version=str(host.data.image_version),
        roles=list(getattr(host.data, f"layer{layer}_roles")),
    )
