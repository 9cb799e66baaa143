"""Distributed training: torchrun, a ResNet-50 of our own, DDP on every GPU."""
