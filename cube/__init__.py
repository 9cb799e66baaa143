"""Vault Cube: builds, proves and seals golden images of a GPU workstation."""

from importlib.metadata import version

__version__ = version("vault-cube")
