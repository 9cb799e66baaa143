"""Hosts with their data, as pyinfra wants them: boxes, machines of the pipeline, fakes."""

import json
import os
from pathlib import Path
from typing import Any

from cube.chain.keys import recipe
from cube.machines import Endpoint
from cube.machines.record import left_up
from cube.spec import Spec, build_data, ca_files
from cube.workspace import Workspace

Host = tuple[str, dict[str, Any]]
Keys = dict[str, str]


def recipes(spec: Spec) -> dict[str, str]:
    """Return the recipe of every enabled layer, by number: what a box notes that it has."""
    return {str(layer): recipe(layer, spec.layers.roles(layer)) for layer in spec.layers.enabled}


def machine(spec: Spec, name: str, endpoint: Endpoint, layer_keys: Keys | None = None) -> Host:
    """Describe a machine of the pipeline; `layer_keys` are those of the chain, by number."""
    return name, {
        **build_data(spec),
        "layer_recipes": recipes(spec),
        "layer_keys": layer_keys or {},
        "ssh_hostname": endpoint.host,
        "ssh_port": endpoint.port,
        "ssh_user": endpoint.user,
        "ssh_key": str(endpoint.key_file),
        "ssh_known_hosts_file": str(endpoint.known_hosts),
        "ssh_config_file": os.devnull,
        "ssh_connect_retries": 5,
        "_sudo": endpoint.user != "root",
    }


def machines_up(spec: Spec) -> list[Host]:
    """Describe the machines that were left up, of every image; a running build's are its own."""
    images = sorted(spec.build.dir.glob("*/"))
    folders = [Workspace(root=image, name=image.name).machines for image in images]
    found = [record for folder in folders for record in left_up(folder)]
    return [machine(spec, record.name, record.endpoint) for record in found]


def box(spec: Spec, name: str) -> Host:
    """Describe a box of cube.toml: it keeps its host name and gets nothing build-only."""
    host = spec.hosts[name]
    keep = spec.network.keep_ca_certificates
    return name, {
        **build_data(spec),
        "layer_recipes": recipes(spec),
        "building": False,
        "hostname": "",
        "proxy": "",
        "apt_mirror": "",
        "ca_certificates": ca_files(spec) if keep else [],
        "ssh_hostname": host.address,
        "ssh_port": host.port,
        "ssh_user": host.user,
        **({"ssh_key": str(host.key)} if host.key else {}),
        "_sudo": host.user != "root",
    }


def fake(spec: Spec, os_name: str) -> Host:
    """Describe a host that runs nothing: every fact is empty, except what it is."""
    return f"@fake/{os_name}", {
        **build_data(spec),
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": {"/etc/os-release": os_name},
    }


def described(path: Path) -> tuple[str, Endpoint, Keys]:
    """Read name, endpoint and layer keys of one machine; a record has none of the last."""
    data = json.loads(path.read_text())
    access = data["endpoint"]
    paths = {key: Path(access[key]) for key in ("key_file", "known_hosts")}
    return data["name"], Endpoint(**{**access, **paths}), data.get("layer_keys", {})
