"""Layer 2, the NVIDIA driver; skipped where there is no GPU."""

from deploy import layers

layers.apply(2)
