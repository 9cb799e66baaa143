"""Answers for Ubuntu's installer, as this project renders them, and changes of them."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cube import config
from cube.baseimage.ubuntu import autoinstall
from cube.disks.shape import Layout

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI someone"
MIRRORS = """
[network]
proxy = "http://proxy.example:3128/"
apt_mirror = "http://mirror.example/ubuntu/"
"""
#: A value that takes a key away.
DROP = object()

Answers = dict[str, Any]


def a_spec(layout: Layout = "lvm", text: str = "") -> config.Spec:
    table = f'[os."ubuntu-24.04"]\niso_url = "http://x/y"\niso_sha256 = "{"0" * 64}"\n'
    found = config.load_text(text + table, Path("/cube.toml"), os="ubuntu-24.04")
    image = found.image.model_copy(update={"layout": layout})
    return found.model_copy(update={"image": image})


def render(layout: Layout = "lvm", text: str = "") -> str:
    return autoinstall.render_user_data(a_spec(layout, text), KEY)


def answers(layout: Layout = "lvm", text: str = "") -> Answers:
    found: Answers = yaml.safe_load(render(layout, text))["autoinstall"]
    return found


def write(found: Answers) -> str:
    return "#cloud-config\n" + yaml.safe_dump({"autoinstall": found}, allow_unicode=True)


def changed(found: Answers, change: Mapping[str, object]) -> Answers:
    """Return answers with values put at paths like ``storage.config.root.size``.

    Actions of the storage go by their id, other items of a list by their number.
    """
    copied = copy.deepcopy(found)
    for path, value in change.items():
        *steps, last = path.split(".")
        place: Any = copied
        for step in steps:
            place = place[step] if isinstance(place, dict) else item(place, step)
        if value is DROP:
            del place[last]
        else:
            place[last] = value
    return copied


def item(items: list[Any], step: str) -> Any:
    if step.isdigit():
        return items[int(step)]
    return next(one for one in items if one.get("id") == step)
