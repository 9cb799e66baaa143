"""The specification: cube.toml as typed, validated, immutable data."""

from cube.config.layers import BASE, link_name, may_apply
from cube.config.load import load, load_text
from cube.config.model import GPU_LAYERS, LAYER_ROLES, OS_NAMES, Layout, OsName, Spec
from cube.config.view import (
    build_data,
    ca_files,
    host_data,
    proxy_environment,
    security_mirror,
    unfit_ca_files,
)

__all__ = [
    "BASE",
    "GPU_LAYERS",
    "LAYER_ROLES",
    "OS_NAMES",
    "Layout",
    "OsName",
    "Spec",
    "build_data",
    "ca_files",
    "host_data",
    "link_name",
    "load",
    "load_text",
    "may_apply",
    "proxy_environment",
    "security_mirror",
    "unfit_ca_files",
]
