"""What cube.toml says of the GPUs and of the software that drives them."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from cube.spec.addresses import Url
from cube.spec.values import FilePath, Section, resolve_path
from cube.stack import profile

#: Source: OCI image specification, "Digests"; distribution, reference.go, the grammar of names.
IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}")


def check_fingerprint(value: str) -> str:
    """Accept the fingerprint of an OpenPGP key as gpg prints it, or nothing."""
    plain = value.replace(" ", "").upper()
    if plain and not re.fullmatch(r"[0-9A-F]{40}", plain):
        raise ValueError("write the 40 hexadecimal digits that gpg --show-keys prints")
    return plain


def check_profile(value: str, info: ValidationInfo) -> str:
    """Accept the name of a shipped profile, or the folder of another one.

    Its folder is made absolute, from the folder of cube.toml.
    """
    if value in profile.names():
        return value
    folder = resolve_path(value, info)
    if "/" in value and isinstance(folder, Path) and (folder / profile.FILE).is_file():
        return str(folder)
    known = ", ".join(profile.names())
    raise ValueError(f"choose one of {known}, or the path of a folder that holds {profile.FILE}")


def read_image(value: object, info: ValidationInfo) -> object:
    """Take an image that is named by its digest, or the path of an archive of `docker save`."""
    if not isinstance(value, str):
        return value
    if IMAGE.fullmatch(value):
        return value
    path = resolve_path(value, info)
    if isinstance(path, Path) and path.is_file():
        return path
    if "@" in value or ":" in value:
        raise ValueError("name an image by its digest: name@sha256:... (a tag may move)")
    raise ValueError(f"there is no archive {path}: make one with docker save, or name@sha256:...")


Fingerprint = Annotated[str, AfterValidator(check_fingerprint)]
Image = Annotated[str | FilePath, BeforeValidator(read_image)]


class Gpu(Section):
    """What the machine is expected to carry."""

    mode: Literal["auto", "assume", "skip"] = "auto"
    model: Annotated[str, Field(min_length=1)] = "rtx-5090"
    count: Annotated[int, Field(ge=1, le=16)] = 4
    memory_mib: Annotated[int, Field(ge=1024)] = 32000


class Stack(Section):
    """Which software drives the GPUs, and where it comes from."""

    profile: Annotated[str, AfterValidator(check_profile)] = "cube"
    source: Literal["nvidia", "distribution"] = "nvidia"
    nvidia_url: Url = ""
    nvidia_fingerprint: Fingerprint = ""
    toolkit_url: Url = ""
    toolkit_fingerprint: Fingerprint = ""
    frameworks: tuple[str, ...] = ("pytorch", "tensorflow", "vllm")
    jupyter: bool = False
    images: tuple[Image, ...] = ()

    @field_validator("frameworks")
    @classmethod
    def _check(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("it is empty: name one, or leave layer 4 out of layers.enabled")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is listed twice: name it once")
        return names
