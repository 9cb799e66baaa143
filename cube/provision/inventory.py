"""Hosts with their data, as pyinfra wants them: live hosts and machines of the pipeline."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cube.chain.key.keys import recipe
from cube.config import Spec, build_data
from cube.config.live_host import box_data
from cube.machines import Endpoint, address, directory, openssh, read_endpoint, ssh
from cube.machines.record import MachineRecord
from cube.runtime import documents

Host = tuple[str, dict[str, Any]]

#: The connector of `deploy/connector`; a host is called by what follows.
CONNECTOR = "@cube/"
#: Seconds for one attempt to connect.
CONNECT_S = 15
#: What paramiko waits for: connection and key exchange, greeting, login. Source: paramiko, connect.
LIMITS = ("timeout", "banner_timeout", "auth_timeout")

Keys = dict[str, str]


def recipes(spec: Spec) -> dict[str, str]:
    """Return the recipe of every enabled layer, by number: what a box notes that it has."""
    return {
        str(layer): read_recipe(layer, spec.layers.roles(layer)) for layer in spec.layers.enabled
    }


@cache
def read_recipe(layer: int, roles: tuple[str, ...]) -> str:
    """Return a recipe; its sources are read once, not for each of many hosts."""
    return recipe(layer, roles)


def machine(
    spec: Spec,
    name: str,
    endpoint: Endpoint,
    layer_keys: Keys | None = None,
    building: bool = True,
    *,
    data: dict[str, object] | None = None,
) -> Host:
    """Describe what answers at an endpoint.

    Args:
        spec: the specification.
        name: of the machine.
        endpoint: where its sshd answers.
        layer_keys: of the layers that are applied, by number; the machine notes them.
        building: False for a box, which gets nothing that only a build needs.
        data: what goes before the specification's.
    """
    return CONNECTOR + name, {
        **(build_data(spec) if building else box_data(spec)),
        **(data or {}),
        "layer_recipes": recipes(spec),
        "layer_keys": layer_keys or {},
        "ssh_hostname": endpoint.host,
        "ssh_port": endpoint.port,
        "ssh_user": endpoint.user,
        **(own_key(endpoint, data or {}) if building else openssh_client(endpoint)),
        "_sudo": endpoint.user != "root",
    }


def own_key(endpoint: Endpoint, data: Mapping[str, object]) -> dict[str, Any]:
    """Return how pyinfra itself logs in with a key that was made for the machine."""
    return {
        "ssh_key": str(endpoint.key_file),
        "ssh_known_hosts_file": str(endpoint.known_hosts),
        "ssh_config_file": os.devnull,
        "ssh_paramiko_connect_kwargs": dict.fromkeys(LIMITS, ssh.ANSWER_S),
        "ssh_connect_retries": data.get("ssh_connect_retries", 5),
    }


def openssh_client(endpoint: Endpoint) -> dict[str, Any]:
    """Return how the connector reaches a host by OpenSSH's client, as all of our commands do.

    pyinfra's own client knows a part of OpenSSH's configuration: it stops reading known_hosts at
    a line of ``@cert-authority``, and never matches ``Match exec``.
    Source: paramiko 4, hostkeys.py, config.py
    """
    return {
        "cube_ssh": ssh.program_args(endpoint, connect_s=CONNECT_S),
        "cube_rights": {
            "become": endpoint.rights.become,
            "terminal": endpoint.terminal,
            "secret": str(endpoint.secret or ""),
        },
    }


def known(spec: Spec) -> list[Host]:
    """Describe every host that has a name; see `cube.machines.directory.known`."""
    return [
        machine(spec, name, one.endpoint) if isinstance(one, MachineRecord) else box(spec, name)
        for name, one in directory.known(spec).items()
    ]


def box(spec: Spec, name: str) -> Host:
    """Describe a box of cube.toml: it keeps its host name and gets nothing build-only."""
    found = address.from_table(name, spec.hosts[name])
    return machine(spec, name, openssh.resolve(found), building=False)


def machines_of(spec: Spec, path: Path) -> list[Host]:
    """Describe the machines that a file lists, or the one that it describes."""
    found = documents.parse(path.read_text())
    rows = found if isinstance(found, list) else [found]
    described_rows = [described(row) for row in rows]
    return [
        machine(spec, name, endpoint, keys, building, data=data)
        for name, endpoint, keys, building, data in described_rows
    ]


def described(data: dict[str, Any]) -> tuple[str, Endpoint, Keys, bool, dict[str, object]]:
    """Read name, endpoint, layer keys of one machine, whether it serves a build, and its data.

    A machine's record says none of the last three: it has no keys nor data, and serves builds.
    """
    endpoint = read_endpoint(data["endpoint"])
    keys, building = data.get("layer_keys", {}), data.get("building", True)
    return data["name"], endpoint, keys, building, data.get("data", {})
