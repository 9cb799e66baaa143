"""GPUs in Docker's containers: --gpus, CDI, the nvidia runtime, sharing, a reload of systemd."""
