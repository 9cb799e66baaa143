"""Inventory of hosts that run nothing, one an operating system.

Use: ``pyinfra deploy/runner/offline.py deploy/site.py``.
Layers run through it in seconds, before a machine exists: the pre-build gate and the golden
tests do. `CUBE_SPEC` names another specification.
"""

import os as _os
from pathlib import Path as _Path

from cube.config import OS_NAMES as _OS_NAMES
from cube.config import load as _load
from cube.config.load import DEFAULT_FILE as _DEFAULT_FILE
from deploy.runner.hosts import fake as _fake

_spec = _load(_Path(_os.environ.get("CUBE_SPEC") or _DEFAULT_FILE))

hosts = [_fake(_spec, name) for name in _OS_NAMES]
