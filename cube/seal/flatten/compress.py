"""Compress a chain of disks into one file, on all processors, always into the same bytes."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import zstandard

from cube.disks import qcow2 as disks
from cube.runtime import run
from cube.seal.flatten.extents import Extent, by_cluster, extents_of, read
from cube.seal.flatten.qcow2 import Writer


@dataclass(frozen=True, kw_only=True)
class Method:
    """How much is compressed at once, and how hard.

    Args:
        cluster_bits: binary logarithm of a cluster's size in bytes; qcow2 allows up to 21.
        level: of zstd, 1 to 22.
        hash_log: binary logarithm of the size of zstd's first table; 0 leaves it to the level.
        chain_log: of its second table.
    """

    cluster_bits: int
    level: int
    hash_log: int = 0
    chain_log: int = 0

    @property
    def cluster_bytes(self) -> int:
        """Return the size of a cluster."""
        return 1 << self.cluster_bits

    def tables(self) -> dict[str, int]:
        """Return the sizes that are not left to the level, by the names of libzstd."""
        sizes = {"hash_log": self.hash_log, "chain_log": self.chain_log}
        return {name: size for name, size in sizes.items() if size}


#: Best of size and time. Source: measured, see docs/how-it-works.md.
BEST = Method(cluster_bits=21, level=4, hash_log=20, chain_log=19)


class Compressor:
    """Compresses the clusters of one chain; called by many threads at once."""

    def __init__(self, files: Sequence[int], method: Method) -> None:
        """Keep what all clusters need.

        Args:
            files: open descriptors of the chain's files, the disk's own first.
            method: how.
        """
        self._files = files
        self._size = method.cluster_bytes
        self._zeros = bytes(self._size)
        self._parameters = zstandard.ZstdCompressionParameters.from_level(
            method.level, source_size=self._size, **method.tables()
        )

    def __call__(self, pieces: Sequence[Extent]) -> bytes:
        """Return a cluster as one frame; empty when all of it is zeros."""
        content = read(pieces, self._files, self._size)
        if content == self._zeros:
            return b""
        return zstandard.ZstdCompressor(compression_params=self._parameters).compress(content)


def flatten(
    disk: Path, target: Path, *, method: Method = BEST, on_part: Callable[[float], None]
) -> None:
    """Write a disk with its chain as one compressed file.

    A chain with compressed clusters, as a cloud image at its bottom has, is unpacked beside the
    target first.

    Args:
        disk: top of the chain; nobody writes to it.
        target: the file to write.
        method: how it is compressed.
        on_part: called now and then with the part that is done, 0 to 1.

    Raises:
        CommandError: a file of the chain is missing, broken or in use.
        MachineError: one is no disk.
        OSError: a file cannot be read, or there is no room for the new one.
        ZstdError: the library refuses, as without memory.
    """
    plain = target.with_name(f"{target.name}.plain")
    plain.unlink(missing_ok=True)  # of a run that was killed
    with ExitStack() as stack:
        extents = extents_of(disk)
        if any(one.offset is None for one in extents):
            stack.callback(plain.unlink, missing_ok=True)
            run.run(disks.flat_args(disk, plain), timeout_s=disks.WHOLE_IMAGE_S)
            disk, extents = plain, extents_of(plain)
        size = disks.virtual_bytes(disk)
        chain = list(disks.chain_of(disk))
        compress(chain, extents, target, virtual_bytes=size, method=method, on_part=on_part)


def compress(
    chain: Sequence[Path],
    extents: Sequence[Extent],
    target: Path,
    *,
    virtual_bytes: int,
    method: Method,
    on_part: Callable[[float], None],
) -> None:
    """Write a compressed qcow2 file.

    Args:
        chain: the files, the disk itself first.
        extents: what they hold, in order, none of it compressed.
        target: the file to write.
        virtual_bytes: size that a guest sees.
        method: how it is compressed.
        on_part: called now and then with the part that is done, 0 to 1.

    Raises:
        OSError: a file cannot be read, or there is no room for the new one.
    """
    clusters = by_cluster(extents, method.cluster_bytes)
    workers = os.cpu_count() or 1
    ahead = 4 * workers
    with ExitStack() as stack:
        files = [os.open(file, os.O_RDONLY) for file in chain]
        for descriptor in files:
            stack.callback(os.close, descriptor)
        stream = stack.enter_context(target.open("wb"))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        writer = Writer(stream, virtual_bytes=virtual_bytes, cluster_bits=method.cluster_bits)
        for cluster, frame in in_order(pool, Compressor(files, method), clusters, ahead=ahead):
            if frame:
                writer.add(cluster, frame)
            on_part(min(1.0, (cluster + 1) * method.cluster_bytes / virtual_bytes))
        writer.finish()


def in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[Extent]], bytes],
    clusters: Iterator[tuple[int, list[Extent]]],
    *,
    ahead: int,
) -> Iterator[tuple[int, bytes]]:
    """Yield the clusters' frames in the clusters' order.

    Args:
        pool: of threads.
        work: makes a frame.
        clusters: with what each holds.
        ahead: so many frames are in the making or wait for their turn: that bounds the memory.
    """
    waiting: deque[tuple[int, Future[bytes]]] = deque()
    for cluster, pieces in clusters:
        waiting.append((cluster, pool.submit(work, pieces)))
        if len(waiting) >= ahead:
            number, future = waiting.popleft()
            yield number, future.result()
    for number, future in waiting:
        yield number, future.result()
