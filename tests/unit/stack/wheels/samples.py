"""Libraries and wheels with GPU code, made of headers alone."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

from cube.stack.wheels.fatbin import ENTRY, HEADER, MACHINE_CODE, PTX


def fat_binary(machine_code: Iterable[int], ptx: Iterable[int] = (), size: int = 40) -> bytes:
    """One kernel, built for some architectures; the code itself is filler."""
    body = b""
    for kind, numbers in ((MACHINE_CODE, machine_code), (PTX, ptx)):
        for number in numbers:
            header = ENTRY.pack(kind, 0x101, 64, size, 0, 0, 0, 8, number).ljust(64, b"\0")
            body += header + b"\xc3" * size
    return HEADER.pack(0xBA55ED50, 1, HEADER.size, len(body)) + body


def library(*binaries: bytes, before: int = 1000) -> bytes:
    """A library: what is not GPU code, then kernels with alignment between them."""
    return b"\x7fELF" + b"\x90" * before + b"\0\0\0\0".join(binaries) + b"tail"


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """A wheel with files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    path = folder / name
    path.write_bytes(data.getvalue())
    return path
