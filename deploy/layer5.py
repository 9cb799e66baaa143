"""Layer 5, monitoring and validation."""

from deploy.runner import layers

layers.apply(5)
