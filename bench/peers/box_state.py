"""The state of a box after layer 1, read on the box itself: one JSON object.

It runs on the box by `ssh HOST sudo python3 - WANTED`, imports nothing of the project's and takes
no tool's word. `WANTED` is JSON that says what to look at. With `trees` it reads whole folders, so
that nothing that only one tool has done stays unseen; without, it is the one script that checks
what layer 1 checks, the limit of every tool.
"""

import hashlib
import json
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

Wanted = dict[str, list[str]]

#: Started together, read one after the other.
COMMANDS = {
    "packages": ["dpkg-query", "--show", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n"],
    "upgrade": ["apt-get", "--simulate", "--quiet", "full-upgrade"],
    "units": ["systemctl", "show", "--property=Id,LoadState,UnitFileState,ActiveState"],
    "firewall": ["ufw", "status", "verbose"],
    "sshd": ["sshd", "-T"],
    "locales": ["locale", "-a"],
    "failed": ["systemctl", "--failed", "--plain", "--no-legend"],
}


def start(argv: list[str], more: list[str]) -> "subprocess.Popen[str]":
    """Start a command."""
    return subprocess.Popen(
        [*argv, *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


def describe(path: Path) -> str:
    """Say what a path is: mode with kind, owner, group, content."""
    try:
        found = path.lstat()
    except OSError as error:
        return type(error).__name__
    words = [oct(found.st_mode), str(found.st_uid), str(found.st_gid)]
    if stat.S_ISLNK(found.st_mode):
        words.append(str(path.readlink()))
    elif stat.S_ISREG(found.st_mode):
        words.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return " ".join(words)


def tree(folder: Path) -> dict[str, str]:
    """Describe all below a folder; links are not followed."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(place, name)
            found[str(path)] = describe(path)
    return found


def account(user: str) -> dict[str, Any] | None:
    """Describe an account: shell, home, groups, password state, keys."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    shadow = [line.split(":") for line in Path("/etc/shadow").read_text().splitlines()]
    groups = [line.split(":") for line in Path("/etc/group").read_text().splitlines()]
    keys = Path(entry.pw_dir, ".ssh/authorized_keys")
    return {
        "shell": entry.pw_shell,
        "home": entry.pw_dir,
        "groups": sorted(words[0] for words in groups if user in words[3].split(",")),
        "locked": [words[1][:1] in {"!", "*"} for words in shadow if words[0] == user],
        "keys": describe(keys),
        "key folder": describe(keys.parent),
    }


def setting(name: str) -> str | None:
    """Read a kernel setting that can be set here; None for one that cannot."""
    path = Path("/proc/sys", name.replace(".", "/"))
    return " ".join(path.read_text().split()) if os.access(path, os.W_OK) else None


def units(text: str) -> dict[str, dict[str, str]]:
    """Read `systemctl show`: a block for each unit."""
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines())
        for block in text.strip().split("\n\n")
    ]
    return {block.pop("Id"): block for block in blocks}


def packages(text: str) -> dict[str, str]:
    """Read what is installed: versions by name."""
    return dict(line.split(" ", 1) for line in text.splitlines() if line.endswith("ii "))


def read(wanted: Wanted) -> dict[str, Any]:
    """Read the state."""
    running = {
        name: start(argv, wanted["units"] if name == "units" else [])
        for name, argv in COMMANDS.items()
        if name not in wanted["leave"]
    }
    trees: dict[str, str] = {}
    for folder in wanted["trees"]:
        trees.update(tree(Path(folder)))
    state: dict[str, Any] = {
        "files": {path: describe(Path(path)) for path in wanted["files"]},
        "accounts": {user: account(user) for user in wanted["accounts"]},
        "kernel": {name: setting(name) for name in wanted["kernel"]},
        "trees": trees,
    }
    said = {name: process.communicate()[0] for name, process in running.items()}
    for name in ("firewall", "sshd", "locales", "failed"):
        state[name] = [line.rstrip() for line in said[name].splitlines() if line.strip()]
    return {
        **state,
        "packages": packages(said["packages"]),
        "upgrade": [
            line for line in said.get("upgrade", "").splitlines() if line.startswith("Inst ")
        ],
        "units": units(said["units"]),
    }


if __name__ == "__main__":
    json.dump(read(json.loads(sys.argv[1])), sys.stdout)
