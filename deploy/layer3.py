"""Layer 3, the GPU runtime: CUDA, cuDNN, containers; skipped where there is no GPU."""

from deploy.runner import layers

layers.apply(3)
