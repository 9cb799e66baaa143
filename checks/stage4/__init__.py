"""Checks of the whole machine: its GPUs and the frameworks at work."""
