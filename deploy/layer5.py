"""Layer 5, monitoring and validation."""

from deploy import layers

layers.apply(5)
