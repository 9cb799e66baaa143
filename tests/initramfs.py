"""An archive as it stands at the beginning of an initramfs, not compressed."""


def archive(files: dict[str, bytes]) -> bytes:
    """Return a cpio archive of files, filled up to a sector.

    Source: cpio(5), "New ASCII Format": 13 fields of eight hexadecimal digits behind the magic,
    the seventh is the size, the twelfth the length of the name.
    """
    found = b""
    for name, content in {**files, "TRAILER!!!": b""}.items():
        fields = [0] * 13
        fields[6], fields[11] = len(content), len(name) + 1
        head = b"070701" + b"".join(b"%08X" % field for field in fields)
        found += filled(head + name.encode() + b"\0", 4) + filled(content, 4)
    return filled(found, 512)


def filled(data: bytes, size: int) -> bytes:
    """Fill up to a multiple of a size."""
    return data + bytes(-len(data) % size)
