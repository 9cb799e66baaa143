"""Layer 4, the AI frameworks; skipped where there is no GPU."""

from deploy.runner import layers

layers.apply(4)
