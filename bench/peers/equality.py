"""Are two boxes in the same state? What may differ is listed, with a reason."""

import fnmatch
from collections.abc import Mapping
from typing import Any

from cube.runtime.errors import CubeError

#: Paths that differ between any two boxes, whatever set them up, and the notes of one tool.
MAY_DIFFER = {
    "/etc/machine-id": "of each machine its own",
    "/etc/ssh/ssh_host_*": "of each machine its own",
    "/etc/*-": "shadow's backups hold the state before the last change",
    "/etc/.pwd.lock": "shadow's lock",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem": "made by a package, of each machine its own",
    "/etc/ssl/private/ssl-cert-snakeoil.key": "made by a package, of each machine its own",
    "/etc/ld.so.cache": "its order is that of the installations",
    "/etc/group": "its order and numbers, too; members are compared by name, as accounts",
    "/etc/gshadow": "the same",
    "/opt/cube/tools/bin/pip*": "Ansible's module needs pip in a venv, ours takes the system's",
    "/opt/cube/tools/lib/python3*/site-packages/pip*": "the same",
    "/opt/cube/tools/pyvenv.cfg": "says by which command it was made",
    "*/__pycache__*": "byte code",
    "/opt/cube/tools/lib/*.dist-info/RECORD": "lists byte code",
    "/home/*/.ansible*": "Ansible's own folder on the box",
    "/root/.ansible*": "Ansible's own folder on the box",
    "/home/cube-build/*": "of the account that the tools log in with",
}
Flat = dict[str, Any]


def flatten(state: Mapping[str, Any]) -> Flat:
    """Return a state as values by name; paths that may differ are left out."""
    flat: Flat = {}
    for part, values in state.items():
        pairs = values.items() if isinstance(values, Mapping) else [("", values)]
        for name, value in pairs:
            if part != "trees" or not excused(name):
                flat[f"{part}: {name}" if name else part] = value
    return flat


def excused(path: str) -> bool:
    """Say whether a path may differ."""
    return any(fnmatch.fnmatch(path, pattern) for pattern in MAY_DIFFER)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that two states do not have in common."""
    left, right = flatten(one), flatten(other)
    return [
        f"{name}: {left.get(name)} != {right.get(name)}"
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name)
    ]


def require_same(one: Mapping[str, Any], other: Mapping[str, Any], names: tuple[str, str]) -> None:
    """Refuse to compare the speed of tools that did not do the same.

    Raises:
        CubeError: the states differ, or hold nothing.
    """
    found = differences(one, other)
    if found or not one.get("packages") or not one.get("trees"):
        raise CubeError(
            f"{names[0]} and {names[1]} leave different states: {len(found)} differences",
            hint="make the playbook in bench/ansible do what the roles do, or say in"
            " bench/peers/equality.py why it may differ",
            details="\n".join(found[:60]),
        )


def require_whole(state: Mapping[str, Any], name: str) -> None:
    """Refuse a state that lacks something, or in which a unit has failed.

    Raises:
        CubeError: it does.
    """
    absent = [path for path, what in state["files"].items() if what.endswith("Error")]
    absent += [user for user, entry in state["accounts"].items() if entry is None]
    absent += [f"unit {unit}" for unit in state["failed"]]
    if "Status: active" not in state["firewall"]:
        absent.append("an active firewall")
    if state["upgrade"]:
        absent.append(f"upgrades: {state['upgrade'][0]}")
    if absent:
        raise CubeError(f"{name} left a box that lacks something", details="\n".join(absent))
