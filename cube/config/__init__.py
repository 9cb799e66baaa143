"""The specification: cube.toml as typed, validated, immutable data."""

from cube.config.load import load, load_text
from cube.config.model import GPU_LAYERS, LAYER_ROLES, OS_NAMES, OsName, Spec
from cube.config.view import (
    build_data,
    ca_files,
    host_data,
    proxy_environment,
    security_mirror,
    unfit_ca_files,
)

__all__ = [
    "GPU_LAYERS",
    "LAYER_ROLES",
    "OS_NAMES",
    "OsName",
    "Spec",
    "build_data",
    "ca_files",
    "host_data",
    "load",
    "load_text",
    "proxy_environment",
    "security_mirror",
    "unfit_ca_files",
]
