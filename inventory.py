"""Hosts for pyinfra: the boxes of cube.toml, and the pipeline's own machines while they are up.

`CUBE_MACHINE` names a file that describes one machine and makes it the only host;
`CUBE_SPEC` names another specification. Names that begin with an underscore are not groups of hosts.
"""

import json as _json
import os as _os
from pathlib import Path as _Path

from pyinfra.api.exceptions import InventoryError as _InventoryError

from cube.errors import CubeError as _CubeError
from cube.machines import Endpoint as _Endpoint
from cube.machines.record import running as _running
from cube.spec import Spec as _Spec
from cube.spec import host_data as _host_data
from cube.spec import load as _load
from cube.spec.load import DEFAULT_FILE as _DEFAULT_FILE

_NO_HOSTS = (
    "there is no host: list one under [hosts.NAME] in cube.toml,"
    " or bring a machine up with 'cube up'"
)
#: Where a machine trusts certificates of its own. Source: update-ca-certificates(8).
_HOST_CA_FOLDER = _Path("/usr/local/share/ca-certificates")


def _ca_files(spec: _Spec) -> list[str]:
    """Name the certificates that the image trusts while it is built."""
    wanted = spec.network.ca_certificates
    if wanted == "none":
        return []
    files = sorted(_HOST_CA_FOLDER.glob("**/*.crt")) if wanted == "host" else wanted
    return [str(file) for file in files]


def _machine(spec: _Spec, name: str, endpoint: _Endpoint) -> tuple[str, dict[str, object]]:
    """Describe a machine of the pipeline: build-only settings reach it."""
    return name, {
        **_host_data(spec),
        "building": True,
        "apt_mirror": spec.network.apt_mirror,
        "ca_certificates": _ca_files(spec),
        "keep_ca_certificates": spec.network.keep_ca_certificates,
        "ssh_hostname": endpoint.host,
        "ssh_port": endpoint.port,
        "ssh_user": endpoint.user,
        "ssh_key": str(endpoint.key_file),
        "ssh_known_hosts_file": str(endpoint.known_hosts),
        "ssh_config_file": _os.devnull,
        "ssh_connect_retries": 5,
        "_sudo": endpoint.user != "root",
    }


def _box(spec: _Spec, name: str) -> tuple[str, dict[str, object]]:
    """Describe a box on the network: it keeps its host name and gets nothing build-only."""
    host = spec.hosts[name]
    keep = spec.network.keep_ca_certificates
    return name, {
        **_host_data(spec),
        "building": False,
        "hostname": "",
        "proxy": "",
        "apt_mirror": "",
        "ca_certificates": _ca_files(spec) if keep else [],
        "keep_ca_certificates": keep,
        "ssh_hostname": host.address,
        "ssh_port": host.port,
        "ssh_user": host.user,
        **({"ssh_key": str(host.key)} if host.key else {}),
        "_sudo": host.user != "root",
    }


def _chosen(path: _Path) -> tuple[str, _Endpoint]:
    """Read name and endpoint of one machine; a record has both, among other things."""
    data = _json.loads(path.read_text())
    access = data["endpoint"]
    paths = {key: _Path(access[key]) for key in ("key_file", "known_hosts")}
    return data["name"], _Endpoint(**{**access, **paths})


def _hosts() -> list[tuple[str, dict[str, object]]]:
    """List what there is.

    Raises:
        InventoryError: the specification is wrong, a record cannot be read, or no host is known.
    """
    chosen = _os.environ.get("CUBE_MACHINE")
    try:
        spec = _load(_Path(_os.environ.get("CUBE_SPEC") or _DEFAULT_FILE))
        if chosen:
            return [_machine(spec, *_chosen(_Path(chosen)))]
        found = [_box(spec, name) for name in spec.hosts]
        found += [
            _machine(spec, machine.name, machine.endpoint)
            for folder in sorted(spec.build.dir.glob("*/work/machines"))
            for machine in _running(folder)
        ]
    except _CubeError as error:
        text = [error.message, error.details, error.hint]
        raise _InventoryError("\n".join(part for part in text if part)) from error
    if not found:
        raise _InventoryError(_NO_HOSTS)
    return found


hosts = _hosts()
