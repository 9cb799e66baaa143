"""Hosts with their data, as pyinfra wants them: boxes, machines of the pipeline, fakes."""

import json
import os
from pathlib import Path
from typing import Any

from cube.machines import Endpoint
from cube.machines.record import left_up
from cube.spec import Spec, host_data
from cube.workspace import Workspace

Host = tuple[str, dict[str, Any]]

#: Where a machine keeps certificates of its own. Source: update-ca-certificates(8).
CA_FOLDER = Path("/usr/local/share/ca-certificates")


def ca_files(spec: Spec) -> list[str]:
    """Name the certificates that the image trusts while it is built."""
    wanted = spec.network.ca_certificates
    if wanted == "none":
        return []
    files = sorted(CA_FOLDER.glob("**/*.crt")) if wanted == "host" else wanted
    return [str(file) for file in files]


def build_data(spec: Spec) -> dict[str, Any]:
    """Return the data of a machine of the pipeline: what is build-only reaches it."""
    return {
        **host_data(spec),
        "building": True,
        "apt_mirror": spec.network.apt_mirror,
        "ca_certificates": ca_files(spec),
        "keep_ca_certificates": spec.network.keep_ca_certificates,
    }


def machine(spec: Spec, name: str, endpoint: Endpoint) -> Host:
    """Describe a machine of the pipeline."""
    return name, {
        **build_data(spec),
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


def described(path: Path) -> tuple[str, Endpoint]:
    """Read name and endpoint of one machine; `describe` writes them, and a record has both."""
    data = json.loads(path.read_text())
    access = data["endpoint"]
    paths = {key: Path(access[key]) for key in ("key_file", "known_hosts")}
    return data["name"], Endpoint(**{**access, **paths})
