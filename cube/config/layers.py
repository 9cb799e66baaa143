"""Names of the links of the chain, and which layers can apply."""

from cube.config.model import GPU_LAYERS, Spec

#: The link below all layers: the bare OS.
BASE = "base"


def link_name(layer: int) -> str:
    """Return the name of a layer's link."""
    return f"layer{layer}"


def may_apply(spec: Spec) -> bool:
    """Tell whether layers 2-4 could be applied at all."""
    return spec.gpu.mode != "skip" and bool(set(spec.layers.enabled) & set(GPU_LAYERS))
