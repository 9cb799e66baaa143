"""Layer 1, the base: system, accounts, security, Docker, Python."""

from deploy.runner import layers

layers.apply(1)
