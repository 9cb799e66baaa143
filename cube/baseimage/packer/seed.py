"""NoCloud seeds for Packer's CDs: written as files, and looked at strictly before a build."""

import re
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cube.machines import Seed
from cube.machines.seed import render_meta_data

#: The form of a key that was made for a build; what is in it nobody wrote by hand.
#: Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
KEY_LINE = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?")
#: First line that makes cloud-init read a file as its configuration.
HEADER = "#cloud-config\n"


class Strict(BaseModel):
    """A mapping without unknown keys or conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


class User(Strict):
    """An account that only a key opens."""

    name: str = Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")
    gecos: str = ""
    uid: int | None = None
    primary_group: Literal["users"] | None = None
    shell: str = Field(pattern=r"^/")
    lock_passwd: Literal[True]
    sudo: str | list[str]
    ssh_authorized_keys: list[str] = Field(min_length=1)


class UserData(Strict):
    """What a seed of ours may tell cloud-init."""

    users: list[User] = Field(min_length=1)
    disable_root: Literal[True] = True
    ssh_pwauth: Literal[False] = False
    package_update: Literal[False] = False
    package_upgrade: Literal[False] = False


def write(folder: Path, user_data: str, seed: Seed) -> None:
    """Write a seed's files, for Packer to put on a CD."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "user-data").write_text(user_data)
    (folder / "meta-data").write_text(render_meta_data(seed))


def problems(error: ValidationError) -> list[str]:
    """Return a model's complaints, one line each: where, and what."""
    return [
        f"{'.'.join(str(word) for word in item['loc']) or 'top'}: {item['msg']}"
        for item in error.errors()
    ]


def check_seed(text: str) -> list[str]:
    """Return what is wrong with a seed's user-data; nothing when it is right."""
    if not text.startswith(HEADER):
        return [f"first line: must be {HEADER.strip()!r}, cloud-init ignores the file otherwise"]
    try:
        data = UserData.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        return [f"not valid YAML: {error}"]
    except ValidationError as error:
        return problems(error)
    return [
        f"users.{user.name}.ssh_authorized_keys: not a public key: {key!r}"
        for user in data.users
        for key in user.ssh_authorized_keys
        if not KEY_LINE.fullmatch(key)
    ]
