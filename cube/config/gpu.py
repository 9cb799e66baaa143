"""What cube.toml says of the GPUs and of the software that drives them."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from cube.config.addresses import Mirror
from cube.config.paths import read_bytes, resolve_path
from cube.config.values import Section
from cube.stack import profile

#: A name of the compatibility table; which there are is the gate's matter.
MODEL = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
#: A framework of a profile, which is the name of its environment on the image.
FRAMEWORK = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
#: The memory of one GPU, in MiB, that a check can ask for.
LEAST_MIB, MOST_MIB = 1024, 1024 * 1024
#: Source: OCI image specification, "Digests"; distribution, reference.go, the grammar of names.
IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}")

#: Source: tar(5), POSIX ustar: the magic; then gzip, zstd, xz and bzip2.
TAR_MAGIC_AT, TAR_MAGIC = 257, b"ustar"
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")


def check_model(value: str) -> str:
    """Accept what may be the name of a GPU model.

    Raises:
        ValueError: it cannot.
    """
    if not MODEL.fullmatch(value):
        raise ValueError('write a model that cube stack gpus lists, like "rtx-5090"')
    return value


def check_fingerprint(value: str) -> str:
    """Accept the fingerprint of an OpenPGP key as gpg prints it, or nothing."""
    plain = value.replace(" ", "").upper()
    if plain and not re.fullmatch(r"[0-9A-F]{40}", plain):
        raise ValueError(
            "write the 40 hexadecimal digits that gpg --show-keys prints,"
            ' like "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"'
        )
    return plain


def check_profile(value: str, info: ValidationInfo) -> str:
    """Accept the name of a shipped profile, or the folder of another one.

    Its folder is made absolute, from the folder of cube.toml.
    """
    if value in profile.names():
        return value
    if "/" in value and ((folder := resolve_path(value, info)) / profile.FILE).is_file():
        return str(folder)
    known = ", ".join(profile.names())
    raise ValueError(
        f"choose one of {known}, or the path of a folder that holds {profile.FILE},"
        ' like "./profiles/mine"'
    )


def read_image(value: object, info: ValidationInfo) -> str | Path:
    """Take an image that is named by its digest, or the path of an archive of `docker save`.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, str):
        raise ValueError('write text in quotes: "name@sha256:..." or the path of an archive')
    if IMAGE.fullmatch(value):
        return value
    if "@" in value:
        raise ValueError("a digest is sha256: and 64 small hexadecimal digits: name@sha256:...")
    path = resolve_path(value, info)
    if path.is_file():
        return check_archive(path)
    if ":" in value or ("/" not in value and "." not in value):
        raise ValueError("name an image by its digest, name@sha256:...: a tag may move")
    raise ValueError(f"there is no archive {path}: create it with docker save --output")


def check_archive(path: Path) -> Path:
    """Accept what begins like a tar archive, compressed or not.

    Raises:
        ValueError: it does not, or cannot be read.
    """
    start = read_bytes(path, limit=TAR_MAGIC_AT + len(TAR_MAGIC))
    if start[TAR_MAGIC_AT:] != TAR_MAGIC and not start.startswith(COMPRESSED):
        raise ValueError(f"{path} is not an archive: create it with docker save --output")
    return path


Fingerprint = Annotated[str, AfterValidator(check_fingerprint)]
#: Text or a path; what it is has been decided before.
Image = Annotated[str | Path, BeforeValidator(read_image)]


class Gpu(Section):
    """What the machine is expected to carry."""

    mode: Literal["auto", "assume", "skip"] = "auto"
    model: Annotated[str, AfterValidator(check_model)] = "rtx-5090"
    count: Annotated[int, Field(ge=1, le=16)] = 4
    memory_mib: Annotated[int, Field(ge=LEAST_MIB, le=MOST_MIB)] = 32000


class Stack(Section):
    """Which software drives the GPUs, and where it comes from."""

    profile: Annotated[str, AfterValidator(check_profile)] = "cube"
    source: Literal["nvidia", "distribution"] = "nvidia"
    nvidia_url: Mirror = ""
    nvidia_fingerprint: Fingerprint = ""
    toolkit_url: Mirror = ""
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
            if not FRAMEWORK.fullmatch(name):
                raise ValueError('write names of frameworks, like "pytorch"')
            if names.count(name) > 1:
                raise ValueError(f"{name} is listed twice: name it once")
        return names
