"""The peer's playbook: its own venv, and variables from the very data that our roles read."""

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cube.config import Spec
from cube.machines import Endpoint
from cube.runtime import log, run
from deploy.operations import containerd, firewall, held
from deploy.roles import common, docker, python, security, users

FOLDER = Path(__file__).resolve().parent / "ansible"
REQUIREMENTS = FOLDER / "requirements.txt"
DEPLOY = FOLDER.parents[1] / "deploy"
OS = "debian-13"
#: Seconds for a download of 70 MB.
INSTALL_S = 1200


def venv(folder: Path) -> Path:
    """Return the venv with Ansible and mitogen, made when its lock is another one."""
    lock = folder / "requirements.txt"
    if lock.exists() and lock.read_text() == REQUIREMENTS.read_text():
        return folder
    with log.step("Installing Ansible and mitogen into a venv of their own"):
        run.run([sys.executable, "-m", "venv", "--clear", folder], timeout_s=INSTALL_S)
        pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        argv = [*pip, "--require-hashes", "--no-deps", "--only-binary", ":all:"]
        run.run([*argv, "--requirement", str(REQUIREMENTS)], timeout_s=INSTALL_S)
        lock.write_text(REQUIREMENTS.read_text())
    return folder


def versions() -> dict[str, str]:
    """Return the peers' versions."""
    return dict(re.findall(r"^(ansible-core|mitogen)==(\S+)", REQUIREMENTS.read_text(), re.M))


def variables(spec: Spec) -> dict[str, Any]:
    """Return the playbook's variables: what our roles take from their own constants and data."""
    return {
        "files": str(DEPLOY / "files"),
        "templates": str(DEPLOY / "templates"),
        "locale": spec.image.locale,
        "timezone": spec.image.timezone,
        "admin_user": spec.admin.user,
        "admin_ssh_keys": list(spec.admin.ssh_keys),
        "admin_groups": list(users.GROUPS),
        "swap_mib": spec.image.swap,
        "common_packages": [*common.PACKAGES, *common.OWN_PACKAGES[OS]],
        "security_packages": list(security.PACKAGES),
        "docker_packages": [*docker.COMMON, *docker.PACKAGES[OS]],
        "python_packages": list(python.PACKAGES),
        "without_cri": containerd.LINE.strip(),
        "docker_daemon": json.loads((DEPLOY / "files/docker/daemon.json").read_text()),
        "kex": list(security.KEX[OS]),
        "host_keys": list(security.HOST_KEYS),
        "rsa_bits": security.RSA_BITS,
        "ports": [firewall.STANDARD],
        "origins": list(security.ORIGINS[OS]),
        "held": list(held.HELD),
    }


def inventory(hosts: Mapping[str, Endpoint], values: Mapping[str, Any]) -> str:
    """Return an inventory of hosts; JSON is YAML."""
    described = {
        name: {
            "ansible_host": access.host,
            "ansible_port": access.port,
            "ansible_user": access.user,
            "ansible_ssh_private_key_file": str(access.key_file),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": shlex.join(
                [
                    "-o",
                    f"UserKnownHostsFile={access.known_hosts}",
                    "-o",
                    "StrictHostKeyChecking=accept-new",
                    "-F",
                    os.devnull,
                ]
            ),
        }
        for name, access in hosts.items()
    }
    return json.dumps({"all": {"hosts": described, "vars": dict(values)}}, indent=2) + "\n"


def ansible_args(
    folder: Path, inventory_file: Path, subset: str, book: str = "site.yml"
) -> list[str]:
    """Build the command that applies a playbook."""
    return [
        str(folder / "bin/ansible-playbook"),
        "--inventory",
        str(inventory_file),
        "--extra-vars",
        json.dumps({"fact_subset": [subset]}),
        str(FOLDER / book),
    ]
