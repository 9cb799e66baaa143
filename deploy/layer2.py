"""Layer 2, the NVIDIA driver; skipped where there is no GPU."""

from deploy.runner import layers

layers.apply(2)
