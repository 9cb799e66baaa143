"""The GPU code inside a library: which architectures its fat binaries hold.

nvcc embeds a kernel as a fat binary: a header, then for each architecture an entry with a header
of its own and machine code (an ELF "cubin") or PTX. The headers are plain even where the code is
compressed, so CUDA is not needed to read them.

The layout is not published. Source: observed in the wheels of torch 2.10.0 and 2.13.0, vLLM 0.19.1
and 0.32.0 and TensorFlow 2.21.0; for torch 2.10.0 and 2.13.0 the result equals the list of
architectures that libtorch_python.so carries as text. It was not compared with cuobjdump.
"""

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import IO

BLOCK = 1024**2
HEADER = struct.Struct("<IHHQ")
MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, 16)
#: Kind, version, size of the header, size of the code, two words, minor, major, architecture.
ENTRY = struct.Struct("<HHIQIIHHI")
PTX, MACHINE_CODE = 1, 2
#: No kernel's fat binary is near this; a longer one is no fat binary.
LONGEST = 512 * 1024**2
#: Fat binaries that are read before a conclusion. Kernels differ in what they are built for
#: (FlashAttention 3 is for sm_90 alone), so one is not enough.
ENOUGH = 12
#: Where none of them has the target, no other will: this bounds what is fetched.
MOST = 64


@dataclass(kw_only=True)
class Found:
    """How many fat binaries hold an architecture ("120"): as machine code, as PTX."""

    machine_code: Counter[str] = field(default_factory=Counter)
    ptx: Counter[str] = field(default_factory=Counter)
    binaries: int = 0

    def architectures(self) -> tuple[str, ...]:
        """Return those with machine code, ascending."""
        return tuple(sorted(self.machine_code, key=int))


def scan(stream: IO[bytes], *, until: tuple[str, ...] = ()) -> Found:
    """Read fat binaries out of a stream: ENOUGH of them, or MOST where the target is in none.

    Args:
        stream: a library; it is read once, from its beginning.
        until: architectures, any of which is enough; none: ENOUGH fat binaries are.
    """
    found, buffer = Found(), b""
    while block := stream.read(BLOCK):
        buffer += block
        while (at := buffer.find(MAGIC)) >= 0 and len(buffer) >= at + HEADER.size:
            size = HEADER.unpack_from(buffer, at)[3]
            if size > LONGEST:
                buffer = buffer[at + len(MAGIC) :]
                continue
            end = at + HEADER.size + size
            if len(buffer) < end:
                break
            count(buffer[at + HEADER.size : end], found)
            buffer = buffer[end:]
            if has_seen(found, until):
                return found
        else:
            # The magic may begin in the last bytes of a block.
            buffer = buffer[max(at, 0) if at >= 0 else -HEADER.size :]
    return found


def has_seen(found: Found, until: tuple[str, ...]) -> bool:
    """Tell whether a conclusion can be drawn."""
    if found.binaries < ENOUGH:
        return False
    met = not until or bool(set(until) & set(found.machine_code))
    return met or found.binaries >= MOST


def count(entries: bytes, found: Found) -> None:
    """Count the entries of one fat binary."""
    at = 0
    machine_code: set[str] = set()
    ptx: set[str] = set()
    while at + ENTRY.size <= len(entries):
        kind, _, header, size, _, _, _, _, architecture = ENTRY.unpack_from(entries, at)
        if header < ENTRY.size or kind not in (PTX, MACHINE_CODE):
            break
        (machine_code if kind == MACHINE_CODE else ptx).add(str(architecture))
        at += header + size
    if machine_code or ptx:
        found.binaries += 1
        found.machine_code.update(machine_code)
        found.ptx.update(ptx)
