"""A longer way to a box: a relay of TCP that gives everything on later, in both directions.

It stands in for `tc netem`, which not every kernel has. Data is held back by half a round trip
each way, and a new connection by a whole one, as its handshake would be. Each side's own
acknowledgements are those of loopback: what a protocol loses by waiting for these is not longer
than without the relay. It ends when its standard input does.
"""

import argparse
import asyncio
import socket
import sys

#: Bytes that are taken at once.
CHUNK = 1 << 16


async def give_on(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, late_s: float
) -> None:
    """Pass a direction on, each piece `late_s` seconds after it came, in order."""
    loop = asyncio.get_running_loop()
    while piece := await source.read(CHUNK):
        loop.call_later(late_s, target.write, piece)
    # A timer of the same moment as a later one runs before it: the end comes last.
    await asyncio.sleep(late_s)
    await asyncio.sleep(0)
    if target.can_write_eof() and not target.is_closing():
        target.write_eof()


async def serve(listen: int, to: int, round_trip_s: float) -> None:
    """Accept connections for ever."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip_s)
        there, back = await asyncio.open_connection("127.0.0.1", to)
        for side in (writer, back):
            side.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        late_s = round_trip_s / 2
        try:
            await asyncio.gather(
                give_on(reader, back, late_s), give_on(there, writer, late_s),
                return_exceptions=True,
            )  # fmt: skip
        finally:
            back.close()
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", listen)
    async with server:
        await asyncio.to_thread(sys.stdin.buffer.read)


def main() -> None:
    """Relay."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("listen", type=int, help="port of loopback")
    parser.add_argument("to", type=int, help="port of loopback")
    parser.add_argument("milliseconds", type=float, help="of a round trip")
    options = parser.parse_args()
    asyncio.run(serve(options.listen, options.to, options.milliseconds / 1000))


if __name__ == "__main__":
    main()
