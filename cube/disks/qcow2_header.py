"""The header of a qcow2 file, read without a program: a file from elsewhere is not trusted yet.

Source: QEMU, docs/interop/qcow2.rst.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from cube.runtime.errors import ChainError

MAGIC = b"QFI\xfb"
#: Version 2's header; version 3 says how long its own is.
LENGTH_V2 = 72
#: Version 3's header, up to the field that says so.
LENGTH_V3 = 104
VERSION_3 = 3
#: A name is no longer than this.
NAME_BYTES = 1023
#: Incompatible feature: the guest's data is in another file.
EXTERNAL_DATA = 1 << 2
#: Header extensions: their end, and the backing file's format.
END, BACKING_FORMAT = 0, 0xE2792ACA
#: The first cluster holds header and extensions; the largest cluster has this size.
FIRST_CLUSTER = 2 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a qcow2 file says of other files.

    Args:
        backing: name of the file below it, as it is written; empty for none.
        backing_format: its format.
        external_data: whether its data is in another file.
    """

    backing: str
    backing_format: str
    external_data: bool


def read_header(path: Path) -> Header:
    """Read the header.

    Raises:
        ChainError: it is no qcow2 file.
    """
    with path.open("rb") as stream:
        data = stream.read(FIRST_CLUSTER)
    try:
        return parse(data)
    except (struct.error, ValueError) as error:
        raise ChainError(f"{path.parent.name}/{path.name} is not a qcow2 file: {error}") from error


def parse(data: bytes) -> Header:
    """Read a header from a file's first bytes.

    Raises:
        ValueError: it is none.
        struct.error: it ends too early.
    """
    magic, version, offset, length = struct.unpack_from(">4sIQI", data)
    if magic != MAGIC:
        raise ValueError(f"it begins with {magic!r}")
    if length > NAME_BYTES or offset + length > len(data):
        raise ValueError("the name of its backing file is out of place")
    features, header_length = 0, LENGTH_V2
    if version >= VERSION_3:
        (features,) = struct.unpack_from(">Q", data, LENGTH_V2)
        (header_length,) = struct.unpack_from(">I", data, LENGTH_V3 - 4)
    return Header(
        backing=data[offset : offset + length].decode() if offset else "",
        backing_format=extension(data, header_length, BACKING_FORMAT).decode(),
        external_data=bool(features & EXTERNAL_DATA),
    )


def extension(data: bytes, at: int, wanted: int) -> bytes:
    """Return a header extension's content; empty when there is none of this kind."""
    while True:
        kind, length = struct.unpack_from(">II", data, at)
        if kind == END:
            return b""
        if kind == wanted:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + -length % 8
