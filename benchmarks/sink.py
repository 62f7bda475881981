"""A fast SMTP sink with CHUNKING, PIPELINING, STARTTLS and AUTH, in a process of its own.

It takes everything, keeps nothing, and prints its port. VRFY tells how many mails it took and when the last one came,
by the machine's monotonic clock. ``python -m benchmarks.sink --certificate FILE`` offers
STARTTLS and AUTH PLAIN; ``--no-chunking`` and ``--no-pipelining`` take the extensions away.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import time


class Sink(asyncio.Protocol):
    """One connection: lines in, replies out; replies to one read leave in one write."""

    accepted = 0
    last_at = 0.0

    def __init__(self, extensions: list[bytes], context: ssl.SSLContext | None) -> None:
        self.extensions = extensions
        self.context = context
        self.buffer = bytearray()
        self.to_skip = 0
        self.in_data = False
        self.upgrade: asyncio.Task[asyncio.Transport | None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.upgrade is None:
            self._answer()

    def _answer(self) -> None:
        replies: list[bytes] = []
        while self.upgrade is None and self._step(replies):
            pass
        if replies:
            self.transport.write(b"".join(replies))

    def _step(self, replies: list[bytes]) -> bool:
        """Use up what is complete; whether to go on."""
        if self.to_skip:
            return self._skip_chunk(replies)
        if self.in_data:
            return self._skip_data(replies)
        end = self.buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return self._command(line, replies)

    def _skip_chunk(self, replies: list[bytes]) -> bool:
        count = min(self.to_skip, len(self.buffer))
        del self.buffer[:count]
        self.to_skip -= count
        if self.to_skip == 0:
            self._accept(replies)
        return bool(count)

    def _skip_data(self, replies: list[bytes]) -> bool:
        end = self.buffer.find(b"\r\n.\r\n")
        if end < 0:
            del self.buffer[:-4]
            return False
        del self.buffer[: end + 5]
        self.in_data = False
        self._accept(replies)
        return True

    @staticmethod
    def _accept(replies: list[bytes]) -> None:
        Sink.accepted += 1
        Sink.last_at = time.monotonic()
        replies.append(b"250 2.0.0 accepted\r\n")

    def _command(self, line: bytes, replies: list[bytes]) -> bool:
        verb = line[:4].upper()
        if verb == b"EHLO":
            offered = [*self.extensions, *([b"STARTTLS"] if self.context else [b"AUTH PLAIN"])]
            lines = [b"sink", *offered]
            replies += [b"250-" + text + b"\r\n" for text in lines[:-1]] + [b"250 " + lines[-1] + b"\r\n"]
        elif verb == b"BDAT":
            self.to_skip = int(line.split()[1])
        elif verb == b"DATA":
            self.in_data = True
            self.buffer[:0] = b"\r\n"
            replies.append(b"354 go on\r\n")
        elif verb == b"VRFY":
            replies.append(b"252 %d %.6f\r\n" % (Sink.accepted, Sink.last_at))
        elif verb == b"STAR":
            self._start_tls(replies)
        elif verb == b"AUTH":
            replies.append(b"235 2.7.0 ok\r\n")
        elif verb == b"QUIT":
            self.transport.write(b"".join(replies) + b"221 bye\r\n")
            replies.clear()
            self.transport.close()
            return False
        else:
            replies.append(b"250 2.0.0 ok\r\n")
        return True

    def _start_tls(self, replies: list[bytes]) -> None:
        self.transport.write(b"".join(replies) + b"220 go on\r\n")
        replies.clear()
        context, self.context = self.context, None
        assert context is not None
        loop = asyncio.get_running_loop()
        self.upgrade = loop.create_task(loop.start_tls(self.transport, self, context, server_side=True))
        self.upgrade.add_done_callback(self._upgraded)

    def _upgraded(self, task: asyncio.Task[asyncio.Transport | None]) -> None:
        if task.cancelled() or task.exception() or (transport := task.result()) is None:
            self.transport.abort()
            return
        self.transport, self.upgrade = transport, None
        self._answer()


async def serve(arguments: argparse.Namespace) -> None:
    """Listen on a free port of the loopback until killed."""
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate)
    extensions = [b"SIZE 104857600", b"8BITMIME", b"SMTPUTF8"]
    extensions += [] if arguments.no_pipelining else [b"PIPELINING"]
    extensions += [] if arguments.no_chunking else [b"CHUNKING"]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(extensions, context), "127.0.0.1", arguments.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run the sink."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--certificate")
    parser.add_argument("--no-chunking", action="store_true")
    parser.add_argument("--no-pipelining", action="store_true")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
