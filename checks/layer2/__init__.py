"""Layer 2: the NVIDIA driver and CUDA."""
