"""Writes a qcow2 file whose clusters are all compressed by zstd.

qemu-img knows zstd at its default level only, and writes the clusters in the order in which its
threads end; this one takes any frames, and makes of the same frames the same bytes.

Source: QEMU, docs/interop/qcow2.rst. All numbers of the format are big-endian.
"""

import struct
import sys
from array import array
from itertools import count
from typing import BinaryIO, TypeAlias

#: Of version 3, with the compression type: 104 bytes and one, rounded up to a multiple of 8.
HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQIIB7x")
MAGIC, VERSION = b"QFI\xfb", 3
#: Bit 3 of the incompatible features: another compression than deflate.
COMPRESSION_BIT = 3
ZSTD = 1
#: Counters of 2^4 bits say how many entries use a cluster of the file.
REFCOUNT_ORDER, REFCOUNT_BYTES = 4, 2
#: The name of that feature, for a program that does not know it.
FEATURE_NAMES = 0x6803F857
NAMES = struct.pack(">IIBB46sII", FEATURE_NAMES, 48, 0, COMPRESSION_BIT, b"compression type", 0, 0)
ENTRY_BYTES = 8
COPIED, COMPRESSED = 1 << 63, 1 << 62
SECTOR = 512
Table: TypeAlias = "array[int]"


class Writer:
    """A qcow2 file under way: nobody can open it before `finish`.

    Args:
        stream: a new file, seekable.
        virtual_bytes: what a guest sees, a multiple of 512.
        cluster_bits: binary logarithm of the size of a cluster, 12 to 21.
    """

    def __init__(self, stream: BinaryIO, *, virtual_bytes: int, cluster_bits: int) -> None:
        self._stream = stream
        self._virtual = virtual_bytes
        self._bits = cluster_bits
        self._size = 1 << cluster_bits
        self._end = self._size  # the first cluster is the header's
        self._entries: dict[int, Table] = {}  # the tables of the second level
        self._used: Table = array("H", [1])
        stream.seek(self._end)

    def add(self, cluster: int, frame: bytes) -> None:
        """Append a cluster's content.

        Args:
            cluster: its number, as a guest counts; those that are never added read as zeros.
            frame: one frame of zstd that holds a whole cluster; it may be longer than that.
        """
        first, last = self._end // SECTOR, (self._end + len(frame) - 1) // SECTOR
        sectors_at = 62 - (self._bits - 8)
        table, place = divmod(cluster, self._size // ENTRY_BYTES)
        if table not in self._entries:
            self._entries[table] = zeros("Q", self._size // ENTRY_BYTES)
        self._entries[table][place] = COMPRESSED | (last - first) << sectors_at | self._end
        for touched in range(first * SECTOR >> self._bits, (last * SECTOR >> self._bits) + 1):
            self._use(touched)
        self._stream.write(frame)
        self._end += len(frame)

    def finish(self) -> None:
        """Write the tables, then the header: now it is a disk.

        The last table is not filled up to a whole cluster, as qemu-img leaves it in a new file.
        """
        per_table = self._size // ENTRY_BYTES
        first_level = zeros("Q", -(-self._virtual // (self._size * per_table)))
        for number, entries in self._entries.items():
            offset = self._allocate(entries)
            self._put(offset, entries)
            first_level[number] = offset | COPIED
        blocks = [zeros("H", self._size // REFCOUNT_BYTES)] * self._blocks(first_level)
        table = array("Q", [self._allocate(block) for block in blocks])
        table_at, first_level_at = self._allocate(table), self._allocate(first_level)
        self._put_counters(table)
        self._put(table_at, table)
        self._put(first_level_at, first_level)
        self._stream.truncate()
        self._stream.seek(0)
        self._stream.write(
            HEADER.pack(
                MAGIC,
                VERSION,
                0,
                0,
                self._bits,
                self._virtual,
                0,
                len(first_level),
                first_level_at,
                table_at,
                self._clusters(size_of(table)),
                0,
                0,
                1 << COMPRESSION_BIT,
                0,
                0,
                REFCOUNT_ORDER,
                HEADER.size,
                ZSTD,
            )
            + NAMES
        )
        self._stream.flush()

    def _blocks(self, last: Table) -> int:
        """Return how many blocks of counters the file needs, if `last` is all that follows."""
        before, after = self._clusters(self._end), self._clusters(size_of(last))
        for blocks in count(1):
            clusters = before + blocks + self._clusters(blocks * ENTRY_BYTES) + after
            if clusters <= blocks * self._size // REFCOUNT_BYTES:
                return blocks
        raise AssertionError("counting does not end")

    def _put_counters(self, offsets: Table) -> None:
        """Write the blocks of counters; nothing is allocated from now on."""
        per_block = self._size // REFCOUNT_BYTES
        self._used.extend(zeros("H", per_block * len(offsets) - len(self._used)))
        for block, offset in enumerate(offsets):
            self._put(offset, self._used[block * per_block : (block + 1) * per_block])

    def _allocate(self, table: Table) -> int:
        """Return the offset of the next whole clusters, which from now on are the table's."""
        first = self._clusters(self._end)
        self._end = (first + self._clusters(size_of(table))) << self._bits
        for cluster in range(first, self._end >> self._bits):
            self._use(cluster)
        return first << self._bits

    def _put(self, offset: int, table: Table) -> None:
        """Write a table."""
        data = table[:]
        if sys.byteorder == "little":
            data.byteswap()
        self._stream.seek(offset)
        self._stream.write(data.tobytes())

    def _use(self, cluster: int) -> None:
        """Count one more entry that uses a cluster of the file."""
        if cluster >= len(self._used):
            self._used.extend(zeros("H", cluster + 1 - len(self._used)))
        self._used[cluster] += 1

    def _clusters(self, size: int) -> int:
        """Return how many clusters hold so many bytes."""
        return -(-size // self._size)


def zeros(typecode: str, items: int) -> Table:
    """Return a table of zeros."""
    return array(typecode, [0]) * items


def size_of(table: Table) -> int:
    """Return the bytes of a table."""
    return len(table) * table.itemsize
