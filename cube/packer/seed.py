"""The NoCloud seed of the first boot: it lets the build key in, and nothing else."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cube.machines import BUILD_USER
from cube.spec.model import KEY_LINE

#: First line that makes cloud-init read a file as its configuration.
HEADER = "#cloud-config\n"


class Strict(BaseModel):
    """A mapping without unknown keys or conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


class User(Strict):
    """An account that only a key opens."""

    name: str = Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")
    shell: str = Field(pattern=r"^/")
    lock_passwd: bool
    sudo: list[str]
    ssh_authorized_keys: list[str] = Field(min_length=1)


class UserData(Strict):
    """What we tell cloud-init."""

    users: list[User] = Field(min_length=1)


def render_user_data(public_key: str) -> str:
    """Return the user-data that makes `BUILD_USER` and lets one key in."""
    user = {
        "name": BUILD_USER,
        "shell": "/bin/bash",
        "lock_passwd": True,
        "sudo": ["ALL=(ALL) NOPASSWD:ALL"],
        "ssh_authorized_keys": [public_key.strip()],
    }
    return HEADER + yaml.safe_dump({"users": [user]}, sort_keys=False)


def render_meta_data(instance_id: str) -> str:
    """Return the meta-data; another instance makes cloud-init begin anew."""
    return yaml.safe_dump({"instance-id": instance_id})


def write(folder: Path, user_data: str, instance_id: str) -> None:
    """Write a seed's files, for Packer to put on a CD."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "user-data").write_text(user_data)
    (folder / "meta-data").write_text(render_meta_data(instance_id))


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
    found = []
    for user in data.users:
        if not user.lock_passwd:
            found.append(f"users.{user.name}.lock_passwd: must be true, no password opens an image")
        found += [
            f"users.{user.name}.ssh_authorized_keys: not a public key: {key!r}"
            for key in user.ssh_authorized_keys
            if not KEY_LINE.fullmatch(key)
        ]
    return found
