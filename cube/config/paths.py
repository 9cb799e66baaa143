"""Paths in cube.toml: relative to the file, ~ is the user's home."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from cube.runtime.toml_errors import NoPathError

#: A larger file is none of those that cube.toml names and that are read whole.
FILE_BYTES = 1024 * 1024
#: What a tool would read as something else in the path of a build: options of QEMU and of
#: systemd-nspawn end there, Packer looks for files that match and for variables, apt refuses it.
#: Source: qemu(1), "-drive"; systemd-nspawn(1), "--bind="; mmdebstrap: "apt cannot handle paths
#: with double quotes"; Packer, "Template engine" and HCL's string templates.
SEPARATORS = (",", ":", "\\", '"', "*", "?", "[", "]", "{{", "${", "%{")
#: An overlay names the disk below it in 1023 bytes, of which those of a link need about 100.
#: Source: QEMU, docs/interop/qcow2.rst, "backing_file_size".
FOLDER_BYTES = 900


class MissingFileError(ValueError):
    """There is no such file."""


def resolve_path(value: object, info: ValidationInfo) -> Path:
    """Make a path absolute: ~ is the user's home, and cube.toml's folder is the base.

    Raises:
        ValueError: it is none, or leads nowhere.
    """
    if not isinstance(value, str):
        raise NoPathError("write a path in quotes")
    if not value.strip():
        raise NoPathError("it is empty: write a path")
    if not value.isprintable():
        raise NoPathError("a path has no control characters: write it without")
    base: Path = (info.context or {}).get("folder", Path.cwd())
    try:
        path = (base / Path(value).expanduser()).resolve()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError) as error:
        raise ValueError(path_trouble(error, value)) from error
    return path


def path_trouble(error: Exception, value: str) -> str:
    """Say why a path leads nowhere."""
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENAMETOOLONG:
        return "the path is too long: write a shorter one"
    if code is None and value.startswith("~"):
        return "this account has no home folder: write the whole path"
    if code in {None, errno.ELOOP}:
        return "a link in it leads back to itself: write the path without it"
    return f"it cannot be reached: {os.strerror(code or 0)}: choose another path"


def check_file(path: Path) -> Path:
    """Accept a file that can be read.

    Raises:
        ValueError: it is none.
    """
    read_bytes(path, limit=1)
    return path


def read_bytes(path: Path, *, limit: int = FILE_BYTES) -> bytes:
    """Return the beginning of a plain file.

    Raises:
        ValueError: it is none, or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a folder" if path.is_dir() else "no plain file"
            raise ValueError(f"{path} is {what}: name a file")
        with path.open("rb") as file:
            return file.read(limit)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"there is no file {path}: name one that is there") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}: name another") from error


def check_folder(path: Path) -> Path:
    """Accept the path of a folder that tools can work in, there already or not.

    Raises:
        ValueError: they would read the path otherwise than it is meant.
    """
    if found := [text for text in SEPARATORS if text in str(path)]:
        raise ValueError(
            f"QEMU, Packer or apt cannot work in a path with {found[0]} ({path}):"
            ' name a folder without it, like "build"'
        )
    if len(os.fsencode(path)) > FOLDER_BYTES:
        raise ValueError(f"longer than {FOLDER_BYTES} bytes as a whole path: name a shorter one")
    return path


def check_key_path(path: Path) -> Path:
    """Accept the path of a key that ssh can be told.

    Source: ssh_config(5), "ENVIRONMENT VARIABLES": nothing escapes the beginning of a variable.

    Raises:
        ValueError: ssh would look for a variable in it.
    """
    if "${" in str(path):
        raise ValueError("ssh takes ${ for a variable: name a file without it")
    return path


def optional_file(value: object, info: ValidationInfo) -> Path | str:
    """Take "" for none, or a file that can be read."""
    return "" if value == "" else check_file(resolve_path(value, info))


FilePath = Annotated[Path, BeforeValidator(resolve_path), AfterValidator(check_file)]
KeyPath = Annotated[Path, BeforeValidator(resolve_path), AfterValidator(check_key_path)]
Folder = Annotated[Path, BeforeValidator(resolve_path), AfterValidator(check_folder)]
