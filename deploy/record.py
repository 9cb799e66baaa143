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
        return layers if isinstance(layers, dict) else {}


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
    recorded = host.get_fact(RecordedLayers)
    what = {"version": version, "roles": list(roles)}
    if {k: v for k, v in recorded.get(str(layer), {}).items() if k != "applied"} == what:
        host.noop(f"layer {layer} is on record")
        return
    applied = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    layers = {**recorded, str(layer): {"applied": applied, **what}}
    text = json.dumps({"layers": dict(sorted(layers.items()))}, indent=2) + "\n"
    script = put_script(LAYERS_FILE, mode="644", user="root", group="root", validate="")
    yield StringCommand(script, _stdin=text)


def record_layer(layer: int) -> None:
    """Add the operation that notes a layer; call it after the layer's last role."""
    record(
        name=f"Note that layer {layer} is on this box",
        layer=layer,
        version=str(host.data.image_version),
        roles=list(getattr(host.data, f"layer{layer}_roles")),
    )
