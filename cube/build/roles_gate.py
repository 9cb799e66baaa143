"""Whether the roles that cube.toml names can make an image, and each has what it stands on."""

from collections.abc import Iterator
from dataclasses import dataclass

from cube.config import GPU_LAYERS, Spec, may_apply
from cube.runtime.toml_errors import shown

#: What the boot test of a sealed image looks for, and the role of layer 1 that brings it.
NEEDED = {
    "common": "it prepares the first boot of each clone and grows its disk",
    "users": "it makes the administrator, who logs in to each clone",
}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A role, and another that must be applied before it."""

    layer: int
    role: str
    on_layer: int
    on: str
    why: str


GROUNDS = (
    Ground(layer=2, role="cuda", on_layer=2, on="nvidia_driver", why="it adds CUDA's archive"),
    Ground(layer=3, role="gpu_runtime", on_layer=1, on="docker", why="it installs Docker"),
    Ground(layer=4, role="frameworks", on_layer=1, on="python", why="it installs uv"),
)


def examine(spec: Spec) -> list[str]:
    """Return what is wrong with the roles, a line each."""
    return [*missing(spec), *groundless(spec)]


def missing(spec: Spec) -> Iterator[str]:
    """Yield what no image can do without."""
    for role, why in NEEDED.items():
        if role not in spec.layers.layer1:
            yield line(spec, 1, f"no image can be sealed without {role}: {why}", role)


def groundless(spec: Spec) -> Iterator[str]:
    """Yield roles without the one that they stand on."""
    layers = [layer for layer in spec.layers.enabled if layer not in GPU_LAYERS or may_apply(spec)]
    for one in GROUNDS:
        if one.layer not in layers or one.role not in spec.layers.roles(one.layer):
            continue
        below = spec.layers.roles(one.on_layer)
        if one.on not in below:
            yield line(spec, one.on_layer, f"{one.role} needs {one.on}: {one.why}", one.on)
        elif one.layer == one.on_layer and below.index(one.on) > below.index(one.role):
            told = f"{one.on} comes after {one.role}: {one.why}"
            yield line(spec, one.layer, told, one.on, word="write it first")


def line(spec: Spec, layer: int, told: str, role: str, *, word: str = "add it") -> str:
    """Return a mistake with the file, the key, its value and how it would be right."""
    has = spec.layers.roles(layer)
    right = (role, *(one for one in has if one != role))
    key = f"{spec.file}: layers.layer{layer} = {shown(has)}"
    return f"{key}: {told}: {word}, like {shown(right)}"
