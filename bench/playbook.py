"""The peer: Ansible in its own venv, with variables from the very data that our roles read."""

import json
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
#: Connections that stay open, without compression on a way that needs none.
#: Source: Ansible's guide, "Controlling how Ansible connects", ssh_args and pipelining.
PIPELINING = {
    "ANSIBLE_PIPELINING": "1",
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=600s",
    "ANSIBLE_GATHERING": "smart",
    "ANSIBLE_CACHE_PLUGIN": "jsonfile",
}
#: Source: mitogen's documentation, "Ansible plugin"; `environment` adds its folder.
MITOGEN = {**PIPELINING, "ANSIBLE_STRATEGY": "mitogen_linear"}


def make_venv(folder: Path) -> Path:
    """Return the venv with Ansible and mitogen, as their lock has them."""
    pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    exact = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    with log.step("Installing Ansible and mitogen into a venv of their own"):
        run.run([sys.executable, "-m", "venv", folder], timeout_s=INSTALL_S)
        run.run([*pip, *exact, "--requirement", str(REQUIREMENTS)], timeout_s=INSTALL_S)
    return folder


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


def inventory(hosts: Mapping[str, Endpoint], spec: Spec) -> str:
    """Return an inventory of hosts with the playbook's variables; JSON is YAML."""
    described = {
        name: {
            "ansible_host": access.host,
            "ansible_port": access.port,
            "ansible_user": access.user,
            "ansible_ssh_private_key_file": str(access.key_file),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=accept-new -F /dev/null"
            f" -o {shlex.quote(f'UserKnownHostsFile={access.known_hosts}')}",
        }
        for name, access in hosts.items()
    }
    return json.dumps({"all": {"hosts": described, "vars": variables(spec)}}, indent=2) + "\n"


def environment(settings: Mapping[str, str], folder: Path, venv: Path) -> dict[str, str]:
    """Return Ansible's variables: its settings, and what keeps it to a folder."""
    strategies = venv.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy")
    return {
        **settings,
        "ANSIBLE_STRATEGY_PLUGINS": ":".join(map(str, strategies)),
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "c"),
        "ANSIBLE_HOST_KEY_CHECKING": "0",  # each box is new, and known by its port only
        "PYTHONWARNINGS": "ignore",
    }
