"""Inventory of hosts that run nothing, one an operating system.

Use: ``pyinfra deploy/runner/offline.py deploy/site.py``.
Layers run through it in seconds, before a machine exists: the pre-build gate and the golden
tests do. `CUBE_SPEC` names another specification.
"""

import os as _os
from pathlib import Path as _Path
from typing import Any as _Any

from cube.config import OS_NAMES as _OS_NAMES
from cube.config import OsName as _OsName
from cube.config import Spec as _Spec
from cube.config import build_data as _build_data
from cube.config import load as _load
from cube.config.load import DEFAULT_FILE as _DEFAULT_FILE
from cube.config.mirrors import image_sources as _image_sources
from deploy.facts.apt_sources import MARK as _MARK


def _fake(spec: _Spec, os_name: _OsName) -> tuple[str, dict[str, _Any]]:
    """Describe a host that runs nothing: every fact is empty but what it is, and apt's sources."""
    sources, text = _image_sources(os_name)
    return f"@fake/{os_name}", {
        **_build_data(spec),
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": {
            "/etc/os-release": os_name,
            _MARK: f"{_MARK}{sources.removeprefix('etc/apt/')}\n{text}",
        },
    }


_spec = _load(_Path(_os.environ.get("CUBE_SPEC") or _DEFAULT_FILE))

hosts = [_fake(_spec, name) for name in _OS_NAMES]
