"""Hosts for pyinfra: the boxes of cube.toml, and the pipeline's own machines while they are up.

`CUBE_MACHINE` names a file that describes one machine (its record does) or lists several, which
are then the only hosts; `CUBE_SPEC` names another specification. A name that begins with an
underscore is no group of hosts.
"""

import os as _os
from importlib.metadata import entry_points as _entry_points
from pathlib import Path as _Path

from pyinfra.api.exceptions import InventoryError as _InventoryError

from cube.config import load as _load
from cube.config.load import DEFAULT_FILE as _DEFAULT_FILE
from cube.provision import inventory as _inventory
from cube.runtime.errors import CubeError as _CubeError
from deploy.runner import redact as _logins

_NONE = (
    "there is no host: list one under [hosts.NAME] in cube.toml,"
    " or bring a machine up with 'cube up'"
)
_OLD = "this environment is older than the project: run ./setup.sh (it has no connector 'cube')"


def _find() -> list[_inventory.Host]:
    """List what there is.

    Raises:
        InventoryError: the specification is wrong, a record cannot be read, no host is known, or
            the environment was set up for an earlier version.
    """
    if not _entry_points(group="pyinfra.connectors", name="cube"):
        raise _InventoryError(_OLD)
    chosen = _os.environ.get("CUBE_MACHINE")
    try:
        spec = _load(_Path(_os.environ.get("CUBE_SPEC") or _DEFAULT_FILE))
        _logins.remember_all(spec.model_dump())
        if chosen:
            return _inventory.machines_of(spec, _Path(chosen))
        found = _inventory.known(spec)
    except _CubeError as error:
        parts = [error.message, error.details, error.hint]
        raise _InventoryError("\n".join(part for part in parts if part)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _InventoryError(f"{chosen}: does not describe a machine ({error})") from error
    if not found:
        raise _InventoryError(_NONE)
    return found


hosts = _find()
