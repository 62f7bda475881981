"""A TCP proxy that makes round trips cost what they cost: order kept, half the round trip in each direction.

``python -m benchmarks.delay --port UPSTREAM --rtt MILLISECONDS`` prints its port. No bandwidth limit. The upstream
is opened after one and a half round trips, so that a cold greeting arrives after two, as over a real network: the
TCP handshake with the proxy itself costs nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import socket


class Leg(asyncio.Protocol):
    """One side of a connection; what it receives leaves on the other side half a round trip later."""

    def __init__(self, half: float) -> None:
        self.half = half
        self.other: Leg | None = None
        self.transport: asyncio.Transport | None = None
        self.waiting: list[bytes] = []
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data in self.waiting:
            transport.write(data)
        self.waiting.clear()
        if self.ended:
            transport.close()

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.half, self._pass_on, data)

    def connection_lost(self, _exc: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self.half, self._end_other)

    def _pass_on(self, data: bytes) -> None:
        assert self.other is not None
        if self.other.transport is None:
            self.other.waiting.append(data)
        elif not self.other.transport.is_closing():
            self.other.transport.write(data)

    def _end_other(self) -> None:
        assert self.other is not None
        self.other.ended = True
        if self.other.transport is not None:
            self.other.transport.close()


class Front(Leg):
    """The client's side: opens the upstream one and a half round trips after the client came."""

    def __init__(self, half: float, upstream: int) -> None:
        super().__init__(half)
        self.upstream = upstream
        self.other = Leg(half)
        self.other.other = self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        asyncio.get_running_loop().call_later(3 * self.half, self._open)

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        back = self.other
        assert back is not None
        self.opening = loop.create_task(loop.create_connection(lambda: back, "127.0.0.1", self.upstream))


async def serve(port: int, rtt: float) -> None:
    """Listen on a free port of the loopback until killed."""
    half = rtt / 2000
    server = await asyncio.get_running_loop().create_server(lambda: Front(half, port), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run the proxy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rtt", type=float, required=True, help="milliseconds")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.rtt))


if __name__ == "__main__":
    main()
