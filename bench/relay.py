"""A longer way to a box: a relay of TCP that delays everything; see bench/README.md.

It ends when its standard input does.
"""

import asyncio
import contextlib
import socket
import sys


async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, late: float) -> None:
    """Pass a direction on, each piece `late` seconds after it came, in order."""
    loop = asyncio.get_running_loop()
    while piece := await source.read(1 << 16):
        loop.call_later(late, target.write, piece)
    # A timer of the same moment as a later one runs before it: the end comes last.
    await asyncio.sleep(late)
    await asyncio.sleep(0)
    if target.can_write_eof() and not target.is_closing():
        target.write_eof()


async def serve(listen: int, to: int, round_trip_s: float) -> None:
    """Accept connections until standard input ends."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip_s)
        there, back = await asyncio.open_connection("127.0.0.1", to)
        with contextlib.closing(back), contextlib.closing(writer):
            for side in (writer, back):
                wire = side.get_extra_info("socket")
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ways = pass_on(reader, back, round_trip_s / 2), pass_on(there, writer, round_trip_s / 2)
            await asyncio.gather(*ways, return_exceptions=True)

    async with await asyncio.start_server(accept, "127.0.0.1", listen):
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
